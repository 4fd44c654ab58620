import type { Provider } from '@nestjs/common';
import { AddRoomsOptions } from '../features/operations/executors/add-rooms.executor';
import { DeleteSchedulerOptions } from '../features/operations/executors/delete-scheduler.executor';
import { OperationRunnerOptions } from '../features/operations/operation-runner';
import { OperationSweepOptions } from '../features/operations/operation-sweep';
import { HealthCycleOptions } from '../features/reconciling/health-cycle';
import { HealthScheduleOptions } from '../features/reconciling/health-schedule';
import { FleetReporterOptions } from '../features/reporting/fleet-reporter';
import { HearingHeartbeatOptions } from '../features/rooms/hearing-heartbeat';
import { RoomLifecycleOptions } from '../features/rooms/room-lifecycle';
import { RoomPingsOptions } from '../features/rooms/room-pings.service';
import { SchedulerSettingsCache, SchedulerSettingsOptions } from '../features/schedulers/scheduler-settings';
import { InstanceWatchOptions } from '../features/watching/instance-watch';
import { Logger } from '../ports/logger';
import { LoopLeases } from '../ports/loop-leases';
import { Metrics } from '../ports/metrics';
import { OperationStore } from '../ports/operation-store';
import { RoomStore } from '../ports/room-store';
import { Runtime } from '../ports/runtime';
import { SchedulerStore } from '../ports/scheduler-store';
import { UnitOfWork } from '../ports/unit-of-work';
import { WakeUps } from '../ports/wake-ups';
import type { ProcessResources } from './process-resources';

/** The ports with what stands behind them in this process. */
export function portProviders(resources: ProcessResources): Provider[] {
  return [
    { provide: Logger, useValue: resources.logger },
    { provide: Metrics, useValue: resources.metrics },
    { provide: UnitOfWork, useValue: resources.unitOfWork },
    { provide: SchedulerStore, useValue: resources.schedulerStore },
    { provide: OperationStore, useValue: resources.operationStore },
    { provide: LoopLeases, useValue: resources.loopLeases },
    { provide: RoomStore, useValue: resources.roomStore },
    { provide: Runtime, useValue: resources.runtime },
    { provide: WakeUps, useValue: resources.wakeUps },
    SchedulerSettingsCache,
    ...optionProviders(resources),
  ];
}

/** Each feature's options, out of the configuration. */
function optionProviders({ config, owner }: ProcessResources): Provider[] {
  const allocationTtlMs = config.roomAllocationTtlMs;
  const leaseTtlMs = config.loopLeaseTtlMs;
  return [
    options(SchedulerSettingsOptions, { pollIntervalMs: config.schedulerSyncIntervalMs }),
    options(OperationRunnerOptions, {
      owner,
      leaseTtlMs: config.operationLeaseTtlMs,
      concurrency: config.operationConcurrency,
      maxAttempts: config.operationMaxAttempts,
      retryDelayMs: config.operationRetryDelayMs,
    }),
    options(OperationSweepOptions, { intervalMs: config.operationSweepIntervalMs }),
    options(AddRoomsOptions, { limit: config.addRoomsLimit, batchSize: config.addRoomsBatchSize }),
    options(DeleteSchedulerOptions, { pollIntervalMs: 250, patienceMs: 30_000 }),
    options(HealthCycleOptions, {
      limits: {
        pingTimeoutMs: config.roomPingTimeoutMs,
        initializationTimeoutMs: config.roomInitializationTimeoutMs,
        deletionTimeoutMs: config.roomDeletionTimeoutMs,
      },
      addLimit: config.addRoomsLimit,
      removeLimit: config.removeRoomsLimit,
    }),
    options(HealthScheduleOptions, {
      healthIntervalMs: config.healthIntervalMs,
      syncIntervalMs: config.schedulerSyncIntervalMs,
    }),
    options(RoomLifecycleOptions, { allocationTtlMs, fallbackPortRange: config.fallbackPortRange }),
    options(RoomPingsOptions, { allocationTtlMs }),
    options(HearingHeartbeatOptions, { intervalMs: config.hearingIntervalMs }),
    options(InstanceWatchOptions, {
      owner,
      leaseTtlMs,
      allocationTtlMs,
      reconcileIntervalMs: config.reconcileIntervalMs,
      doubtIntervalMs: config.doubtIntervalMs,
      syncCheckIntervalMs: config.doubtIntervalMs,
      unknownInstanceAgeMs: 60_000,
    }),
    options(FleetReporterOptions, { owner, leaseTtlMs, intervalMs: config.reporterIntervalMs }),
  ];
}

function options<T extends object>(token: new () => T, value: T): Provider {
  return { provide: token, useValue: Object.freeze(value) };
}
