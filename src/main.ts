#!/usr/bin/env node
import 'reflect-metadata';
import { Command, CommanderError } from 'commander';
import { messageOf } from './domain/errors';
import type { BacktestCommandOptions } from './roles/backtest';
import { adoptFromV10, backtest, importFromV10, migrate, reset, start, type GlobalOptions } from './roles/commands';
import { roles } from './roles/role';

function program(): Command {
  const command = new Command('maestro')
    .description('Runs fleets of dedicated game servers.')
    .showHelpAfterError('(--help shows what there is)')
    .exitOverride();
  const withGlobals = (each: Command): Command =>
    each
      .option('-c, --config-path <file>', 'YAML file with settings; the environment wins over it')
      .option('-l, --log-config <preset>', 'production (JSON lines) or development (for a terminal)');
  withGlobals(command.command('start'))
    .description('start one or more roles; with --role all and no database configured, embedded ones are started')
    .argument('[role]', `the same as --role: ${roles.join(', ')}, all`)
    .option('-r, --role <list>', 'roles of this process, separated by commas')
    .action((role: string | undefined, options: GlobalOptions & { role?: string }) =>
      start({ ...options, roles: options.role ?? role ?? 'all' }),
    );
  withGlobals(command.command('migrate'))
    .description('bring the database to this version')
    .action((options: GlobalOptions) => migrate(options));
  withGlobals(command.command('import'))
    .description('take over the schedulers of a Maestro v10, with all their versions, from its database')
    .requiredOption('--from <url>', "v10's PostgreSQL; nothing is written to it; the password may come from PGPASSWORD")
    .option('--dry-run', 'tell what would become of each scheduler, and write nothing')
    .option('--scheduler <name...>', 'only these schedulers')
    .addHelpText('after', '\nEnds with 1 if a scheduler was skipped or is in conflict with one that is here.')
    .action(async (options: GlobalOptions & { from: string; dryRun?: boolean; scheduler?: string[] }) => {
      if (!(await importFromV10(options))) process.exitCode = 1;
    });
  withGlobals(command.command('adopt'))
    .description(
      'take over the rooms that a Maestro v10 runs on Kubernetes, without ending one; stop v10’s worker first',
    )
    .option('--scheduler <name...>', 'of these schedulers')
    .option('--all', 'of every scheduler that is here')
    .option('--dry-run', 'tell what would become of each scheduler, and write nothing')
    .addHelpText('after', '\nEnds with 1 if something was refused. It may be run again at any time.')
    .action(async (options: GlobalOptions & { scheduler?: string[]; all?: boolean; dryRun?: boolean }) => {
      if (!(await adoptFromV10(options))) process.exitCode = 1;
    });
  withGlobals(command.command('backtest'))
    .description('replay a load curve under autoscaling policies, and compare what they would have come to')
    .requiredOption('--policy <file...>', 'JSON with the autoscaling of a scheduler; one file for each policy')
    .requiredOption('--load <file>', 'CSV of time,matches: how many matches were wanted when')
    .option('--start-delay <duration>', 'how long a room takes to come up', '60s')
    .option('--match-length <duration>', 'how long a match takes on average', '20m')
    .option('--cycle-interval <duration>', 'at least so long between two looks at the fleet', '30s')
    .option('--seed <number>', 'where chance begins; the same one gives the same result', '1')
    .option('--plot <file>', 'write an SVG with a panel for each policy')
    .option('--json', 'print JSON instead of a table')
    .action((options: GlobalOptions & BacktestCommandOptions) => backtest(options));
  withGlobals(command.command('reset'))
    .description('end what the state directory still runs, and remove it')
    .action((options: GlobalOptions) => reset(options));
  return command;
}

program()
  .parseAsync()
  .catch((error: unknown) => {
    // The parser has said what is wrong, or shown what was asked for.
    if (error instanceof CommanderError) process.exit(error.exitCode);
    process.stderr.write(`maestro: ${messageOf(error)}\n`);
    process.exit(1);
  });
