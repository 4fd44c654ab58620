import { readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { JsonValue } from '@bufbuild/protobuf';
import { readBacktestPolicy } from '../api/management/backtest-policy';
import { parseDurationMs, type Config } from '../config/settings';
import { DomainError, messageOf } from '../domain/errors';
import { parseLoadCurve } from '../domain/simulation/parse-load-curve';
import { backtestPlot } from '../features/backtesting/backtest-plot';
import { backtestTable } from '../features/backtesting/backtest-table';
import { BacktestsService, boundsOfCommand, type BacktestPolicy } from '../features/backtesting/backtests.service';

/** As typed. */
export interface BacktestCommandOptions {
  policy: string[];
  load: string;
  startDelay: string;
  matchLength: string;
  cycleInterval: string;
  seed: string;
  plot?: string;
  json?: boolean;
}

/**
 * Replays a load file under each policy file, prints the comparison and writes the plot.
 * @throws DomainError with one line that names the file, the line and the field of what is wrong.
 */
export async function runBacktest(options: BacktestCommandOptions, config: Config): Promise<void> {
  const policies = options.policy.map((file) => policyOf(file, options.policy));
  const load = within(options.load, () => parseLoadCurve(read(options.load)));
  const service = new BacktestsService({
    limits: {
      pingTimeoutMs: config.roomPingTimeoutMs,
      initializationTimeoutMs: config.roomInitializationTimeoutMs,
      deletionTimeoutMs: config.roomDeletionTimeoutMs,
      drainConfirmMs: config.roomDrainConfirmMs,
    },
    addLimit: config.addRoomsLimit,
    removeLimit: config.removeRoomsLimit,
    bounds: boundsOfCommand,
  });
  const outcomes = await service.run({
    policies,
    load,
    startDelayMs: durationOf('--start-delay', options.startDelay),
    matchLengthMs: durationOf('--match-length', options.matchLength),
    lookIntervalMs: durationOf('--cycle-interval', options.cycleInterval),
    seed: wholeNumberOf('--seed', options.seed),
  });
  if (options.plot !== undefined) write(options.plot, backtestPlot(outcomes));
  process.stdout.write(options.json ? `${JSON.stringify(outcomes, null, 2)}\n` : backtestTable(outcomes));
  if (options.plot !== undefined && !options.json) process.stdout.write(`\nthe plot is in ${options.plot}\n`);
}

function policyOf(file: string, all: readonly string[]): BacktestPolicy {
  const scheduler = within(file, () => {
    const text = read(file);
    let json: JsonValue;
    try {
      json = JSON.parse(text) as JsonValue;
    } catch (error) {
      throw new DomainError('invalid_argument', 'backtest.policy_invalid', `it is no JSON: ${messageOf(error)}`);
    }
    return readBacktestPolicy(json);
  });
  const nameOf = (each: string): string => basename(each).replace(/\.json$/, '');
  const isUnique = all.filter((each) => nameOf(each) === nameOf(file)).length === 1;
  return { name: isUnique ? nameOf(file) : file, scheduler };
}

/** What goes wrong with a file is said with its name. */
function within<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    throw new DomainError(error.kind, error.code, `${file}: ${error.message}`, { cause: error });
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new DomainError('invalid_argument', 'backtest.file_unreadable', messageOf(error), { cause: error });
  }
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw new DomainError('invalid_argument', 'backtest.file_unwritable', messageOf(error), { cause: error });
  }
}

function durationOf(option: string, text: string): number {
  const ms = parseDurationMs(text, 's');
  if (ms !== null && ms >= 1_000) return ms;
  throw new DomainError(
    'invalid_argument',
    'backtest.option_invalid',
    `${option}: "${text}" is no duration of at least a second, such as 30s or 20m`,
  );
}

function wholeNumberOf(option: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new DomainError('invalid_argument', 'backtest.option_invalid', `${option}: "${text}" is no whole number`);
}
