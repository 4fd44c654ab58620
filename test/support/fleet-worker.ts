import { Registry } from 'prom-client';
import { PrometheusMetrics } from '../../src/adapters/prometheus/prometheus-metrics';
import { operationDefinitions, type Operation } from '../../src/domain/operation/operation';
import type { ValidationLimits } from '../../src/domain/room/judge-validation';
import type { PingStatus, Room } from '../../src/domain/room/room';
import { ExecutorRegistry, type Executor } from '../../src/features/operations/executor';
import { AddRoomsExecutor } from '../../src/features/operations/executors/add-rooms.executor';
import { CreateNewVersionExecutor } from '../../src/features/operations/executors/create-new-version.executor';
import { CreateSchedulerExecutor } from '../../src/features/operations/executors/create-scheduler.executor';
import { DeleteSchedulerExecutor } from '../../src/features/operations/executors/delete-scheduler.executor';
import { HealthControllerExecutor } from '../../src/features/operations/executors/health-controller.executor';
import { RemoveRoomsExecutor } from '../../src/features/operations/executors/remove-rooms.executor';
import { SwitchActiveVersionExecutor } from '../../src/features/operations/executors/switch-active-version.executor';
import { OperationRunner } from '../../src/features/operations/operation-runner';
import { SchedulerPlaces } from '../../src/features/operations/scheduler-places';
import { OperationsService } from '../../src/features/operations/operations.service';
import { AutomationService } from '../../src/features/reconciling/automation.service';
import { HealthCycle } from '../../src/features/reconciling/health-cycle';
import { HealthFactsReader } from '../../src/features/reconciling/health-facts-reader';
import { VersionDifferences } from '../../src/features/reconciling/version-differences';
import { WebhookAnswers } from '../../src/features/reconciling/webhook-answers';
import { RoomLifecycle } from '../../src/features/rooms/room-lifecycle';
import { SchedulersService } from '../../src/features/schedulers/schedulers.service';
import type { DesiredRoomsWebhook } from '../../src/ports/desired-rooms-webhook';
import type { HealthRecords } from '../../src/ports/health-records';
import type { HostPortReservations } from '../../src/ports/host-port-reservations';
import type { OperationStore } from '../../src/ports/operation-store';
import type { RoomStore } from '../../src/ports/room-store';
import type { Runtime } from '../../src/ports/runtime';
import { everyDeadline } from './every-deadline';
import { FakeDesiredRoomsWebhook } from './fake-desired-rooms-webhook';
import { FakeHealthRecords } from './fake-health-records';
import type { PostgresStores } from './open-postgres';
import { RecordedLog } from './recorded-log';
import { RecordedWakeUps } from './recorded-wake-ups';

export const statusSettings = { maxMatches: 1 };
/** What a ping has besides its room and its word. */
export const noPing = { runningMatches: 0, metadata: null, listener: null, resync: false };
export const roomLimits = {
  pingTimeoutMs: 240_000,
  initializationTimeoutMs: 120_000,
  deletionTimeoutMs: 120_000,
  drainConfirmMs: 10_000,
};
export const retryDelayMs = 60;

export interface FleetWorkerParts {
  stores: PostgresStores;
  rooms: RoomStore;
  hostPorts: HostPortReservations;
  runtime: Runtime;
  operations?: OperationStore;
  records?: HealthRecords;
  webhook?: DesiredRoomsWebhook;
  leaseTtlMs?: number;
  /** Of `add_rooms`. */
  limit?: number;
  batchSize?: number;
  /** Of `delete_scheduler`: beyond the grace period. */
  patienceMs?: number;
  /** Of `create_new_scheduler_version`. */
  validation?: Partial<ValidationLimits>;
}

/** The services and the worker of one process with their true executors, on the stores and the runtime of a test. */
export function openFleetWorker(parts: FleetWorkerParts) {
  const { stores, rooms, hostPorts, runtime } = parts;
  const { operations = stores.operations } = parts;
  const wakeUps = new RecordedWakeUps();
  const log = new RecordedLog();
  const registry = new Registry();
  const metrics = new PrometheusMetrics(registry);
  const lifecycle = new RoomLifecycle(rooms, runtime, hostPorts, {
    fallbackPortRange: { start: 60_001, end: 60_010 },
  });
  const places = new SchedulerPlaces(runtime, stores.schedulers, log);
  const operationsService = new OperationsService(operations, stores.schedulers, stores.unitOfWork, wakeUps);
  const schedulersService = new SchedulersService(
    stores.schedulers,
    rooms,
    operations,
    operationsService,
    stores.unitOfWork,
  );
  const { records = new FakeHealthRecords(), webhook = new FakeDesiredRoomsWebhook() } = parts;
  const options = { limits: roomLimits, addLimit: 1_000, removeLimit: 50 };
  const healthFacts = new HealthFactsReader(
    stores.schedulers,
    rooms,
    operations,
    records,
    new VersionDifferences(stores.schedulers, log),
    new WebhookAnswers(webhook, wakeUps, metrics, log),
    log,
    options,
  );
  const healthCycle = new HealthCycle(
    stores.schedulers,
    rooms,
    operations,
    operationsService,
    healthFacts,
    records,
    wakeUps,
    metrics,
    log,
    options,
  );
  const automation = new AutomationService(stores.schedulers, wakeUps);
  const executors = [
    new CreateSchedulerExecutor(runtime, stores.schedulers),
    new CreateNewVersionExecutor(stores.schedulers, operations, rooms, lifecycle, places, {
      validation: { attempts: 3, timeoutMs: 120_000, acceptOccupied: false, ...parts.validation },
    }),
    new SwitchActiveVersionExecutor(stores.schedulers),
    new DeleteSchedulerExecutor(runtime, stores.schedulers, operations, rooms, hostPorts, {
      pollIntervalMs: 5,
      patienceMs: parts.patienceMs ?? 5_000,
    }),
    new AddRoomsExecutor(rooms, lifecycle, places, metrics, {
      limit: parts.limit ?? 1_000,
      batchSize: parts.batchSize ?? 40,
    }),
    new RemoveRoomsExecutor(lifecycle, healthCycle, metrics, log),
    new HealthControllerExecutor(healthCycle, stores.schedulers, rooms),
  ] as unknown as Executor[];
  const runner = new OperationRunner(
    operations,
    stores.schedulers,
    stores.unitOfWork,
    new ExecutorRegistry(executors, operationDefinitions),
    wakeUps,
    metrics,
    log,
    {
      owner: 'worker',
      concurrency: 50,
      leaseTtlMs: parts.leaseTtlMs ?? 5_000,
      maxAttempts: 10,
      cancelPollMs: 1_000,
      firstRetryDelayMs: retryDelayMs,
      retryDelayMs,
      deadlineMs: everyDeadline(600_000),
      rollbackDeadlineMs: 600_000,
    },
  );
  return {
    runner,
    healthCycle,
    records,
    automation,
    schedulers: schedulersService,
    operations: operationsService,
    wakeUps,
    log,
    registry,
  };
}

export type FleetWorker = ReturnType<typeof openFleetWorker>;

/** What the watcher and the pings of all rooms bring into the store: every instance as it is, each ready one pings. */
export async function hearFleet(
  rooms: RoomStore,
  runtime: Runtime,
  scheduler: string,
  ping: Exclude<PingStatus, 'unknown'> = 'ready',
): Promise<Room[]> {
  const instances = await runtime.listInstances(scheduler);
  for (const instance of instances) {
    await rooms.applyInstance(instance, statusSettings, { adopt: true, authoritative: true });
    if (instance.status !== 'ready') continue;
    await rooms.applyPing({ ...noPing, scheduler, room: instance.id, status: ping }, statusSettings);
  }
  for (const room of (await rooms.readFleet(scheduler)).rooms) {
    if (!instances.some(({ id }) => id === room.id)) await rooms.endRoom(scheduler, room.id);
  }
  return (await rooms.readFleet(scheduler)).rooms;
}

export async function historyOf(
  { operations }: PostgresStores,
  { scheduler, id }: Pick<Operation, 'scheduler' | 'id'>,
) {
  return (await operations.get(scheduler, id))!.history.map(({ event }) => event);
}
