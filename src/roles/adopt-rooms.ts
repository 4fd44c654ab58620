import { KubernetesV10Rooms } from '../adapters/kubernetes/kubernetes-v10-rooms';
import { assertMigrated, connectPostgres, describeTarget } from '../adapters/postgres/data-source';
import { PostgresInstallation } from '../adapters/postgres/postgres-installation';
import { PostgresListener } from '../adapters/postgres/postgres-listener';
import { PostgresSchedulerStore } from '../adapters/postgres/postgres-scheduler-store';
import { PostgresUnitOfWork } from '../adapters/postgres/postgres-unit-of-work';
import type { Config } from '../config/settings';
import { DomainError, messageOf } from '../domain/errors';
import { isComplete, outcomeLines, summaryLine } from '../features/adopting/adoption-report';
import { RoomAdoption, type AdoptionOutcome, type AdoptionRequest } from '../features/adopting/room-adoption';
import type { Logger } from '../ports/logger';
import { clusterAddress } from './open-runtime';

/**
 * Takes over the rooms of a Maestro v10 in the configured cluster and prints what became of each scheduler's. Answers whether
 * all of them are ours now.
 * @throws DomainError with one line for whatever keeps it from going on; each scheduler printed until then is as it says.
 */
export async function adoptRooms(
  config: Config,
  logger: Logger,
  url: string,
  request: AdoptionRequest & { environment: Readonly<Record<string, string | undefined>> },
): Promise<boolean> {
  if (config.runtime !== 'kubernetes') {
    throw new DomainError(
      'failed_precondition',
      'adoption.no_cluster',
      'v10 ran its rooms on Kubernetes, and MAESTRO_RUNTIME is local: set it to kubernetes, and say where the cluster is',
    );
  }
  const dataSource = await connectPostgres({
    url,
    poolSize: 1,
    applicationName: 'maestro-adopt',
    onIdleError: (error) => logger.warn({ err: messageOf(error) }, 'the database connection was lost'),
  });
  try {
    await assertMigrated(dataSource);
    await dataSource.query('SET default_transaction_read_only = on');
    const unitOfWork = new PostgresUnitOfWork(dataSource);
    const installation = await new PostgresInstallation(unitOfWork).id();
    const rooms = await KubernetesV10Rooms.open({
      cluster: clusterAddress(config, request.environment),
      installation,
      qps: config.kubernetesQps,
      burst: config.kubernetesBurst,
    });
    try {
      const schedulers = new PostgresSchedulerStore(unitOfWork, new PostgresListener(url, logger));
      const work = new RoomAdoption(rooms, schedulers, installation);
      process.stdout.write(`in ${rooms.server}, for installation ${installation} at ${describeTarget(url)}\n`);
      const outcomes: AdoptionOutcome['outcome'][] = [];
      for await (const outcome of work.run(request)) {
        outcomes.push(outcome.outcome);
        process.stdout.write(outcomeLines(outcome));
      }
      process.stdout.write(summaryLine(outcomes, request.isDryRun));
      return isComplete(outcomes);
    } finally {
      rooms.close();
    }
  } finally {
    await dataSource.destroy();
  }
}
