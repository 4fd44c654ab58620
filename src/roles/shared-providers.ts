import type { Provider } from '@nestjs/common';
import { RoomsApiOptions } from '../api/rooms/rooms-handlers';
import type { RoomLimits } from '../domain/room/classify-room';
import { BacktestsOptions, boundsOfRequests } from '../features/backtesting/backtests.service';
import { AddRoomsOptions } from '../features/operations/executors/add-rooms.executor';
import { CreateNewVersionOptions } from '../features/operations/executors/create-new-version.executor';
import { DeleteSchedulerOptions } from '../features/operations/executors/delete-scheduler.executor';
import { OperationRetentionOptions } from '../features/operations/operation-retention';
import { OperationRunnerOptions } from '../features/operations/operation-runner';
import { OperationSweepOptions } from '../features/operations/operation-sweep';
import { HealthCycleOptions } from '../features/reconciling/health-facts-reader';
import { HealthScheduleOptions } from '../features/reconciling/health-schedule';
import { FleetReporterOptions } from '../features/reporting/fleet-reporter';
import { AllocationExpiryOptions } from '../features/rooms/allocation-expiry';
import { AllocationWaitsOptions } from '../features/rooms/allocation-waits';
import { FleetRoomsOptions } from '../features/rooms/fleet-rooms.service';
import { HealthRingsOptions } from '../features/rooms/health-rings';
import { HearingHeartbeatOptions } from '../features/rooms/hearing-heartbeat';
import { RoomAllocationsOptions } from '../features/rooms/room-allocations.service';
import { RoomLifecycleOptions } from '../features/rooms/room-lifecycle';
import { RoomStreamsOptions } from '../features/rooms/room-streams.service';
import { SchedulerSettingsCache, SchedulerSettingsOptions } from '../features/schedulers/scheduler-settings';
import { InstanceWatchOptions } from '../features/watching/instance-watch';
import { MatchProtectionOptions } from '../features/watching/match-protection';
import { creationDeadlineMs } from '../features/watching/reconciliation';
import { DesiredRoomsWebhook } from '../ports/desired-rooms-webhook';
import { EventForwarder } from '../ports/event-forwarder';
import { HealthRecords } from '../ports/health-records';
import { HostPortReservations } from '../ports/host-port-reservations';
import { Logger } from '../ports/logger';
import { LoopLeases } from '../ports/loop-leases';
import { LoadRecords } from '../ports/load-records';
import { Metrics } from '../ports/metrics';
import { Notices } from '../ports/notices';
import { OperationStore } from '../ports/operation-store';
import { RoomAllocationStore } from '../ports/room-allocation-store';
import { RoomChanges } from '../ports/room-changes';
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
    { provide: LoadRecords, useValue: resources.loadRecords },
    { provide: UnitOfWork, useValue: resources.unitOfWork },
    { provide: SchedulerStore, useValue: resources.schedulerStore },
    { provide: OperationStore, useValue: resources.operationStore },
    { provide: LoopLeases, useValue: resources.loopLeases },
    { provide: RoomStore, useValue: resources.roomStore },
    { provide: RoomAllocationStore, useValue: resources.roomAllocationStore },
    { provide: HealthRecords, useValue: resources.healthRecords },
    { provide: RoomChanges, useValue: resources.roomChanges },
    { provide: HostPortReservations, useValue: resources.hostPortReservations },
    { provide: Notices, useValue: resources.notices },
    { provide: Runtime, useValue: resources.runtime },
    { provide: WakeUps, useValue: resources.wakeUps },
    { provide: DesiredRoomsWebhook, useValue: resources.desiredRoomsWebhook },
    { provide: EventForwarder, useValue: resources.eventForwarder },
    SchedulerSettingsCache,
    ...optionProviders(resources),
  ];
}

/** Each feature's options, out of the configuration. */
function optionProviders({ config, owner }: ProcessResources): Provider[] {
  const leaseTtlMs = config.loopLeaseTtlMs;
  const limits: Omit<RoomLimits, 'drainDeadlineMs'> = {
    pingTimeoutMs: config.roomPingTimeoutMs,
    initializationTimeoutMs: config.roomInitializationTimeoutMs,
    deletionTimeoutMs: config.roomDeletionTimeoutMs,
    drainConfirmMs: config.roomDrainConfirmMs,
  };
  // Players who were sent to a room just before the state was lost have arrived by then, and the room has said so.
  const adoptionHoldMs = 30_000;
  return [
    options(SchedulerSettingsOptions, { pollIntervalMs: config.schedulerSyncIntervalMs }),
    options(OperationRunnerOptions, {
      owner,
      leaseTtlMs: config.operationLeaseTtlMs,
      concurrency: config.operationConcurrency,
      maxAttempts: config.operationMaxAttempts,
      cancelPollMs: config.operationCancelPollMs,
      firstRetryDelayMs: config.operationFirstRetryDelayMs,
      retryDelayMs: config.operationRetryDelayMs,
      deadlineMs: {
        create_scheduler: config.createSchedulerDeadlineMs,
        create_new_scheduler_version: config.createNewVersionDeadlineMs,
        switch_active_version: config.switchActiveVersionDeadlineMs,
        delete_scheduler: config.deleteSchedulerDeadlineMs,
        add_rooms: config.addRoomsDeadlineMs,
        remove_rooms: config.removeRoomsDeadlineMs,
        health_controller: config.healthControllerDeadlineMs,
      },
      rollbackDeadlineMs: config.rollbackDeadlineMs,
    }),
    options(OperationRetentionOptions, {
      owner,
      // Nobody waits for it: a long lease costs fewer writes, and who takes it over may be late.
      leaseTtlMs: 60_000,
      intervalMs: config.retentionIntervalMs,
      rules: {
        healingAgeMs: config.retentionHealingAgeMs,
        changeAgeMs: config.retentionChangeAgeMs,
        newestChanges: config.retentionNewestChanges,
        limit: config.retentionLimit,
      },
      batchSize: 500,
    }),
    options(OperationSweepOptions, { intervalMs: config.operationSweepIntervalMs }),
    options(AddRoomsOptions, { limit: config.addRoomsLimit, batchSize: config.addRoomsBatchSize }),
    options(CreateNewVersionOptions, {
      validation: {
        attempts: config.roomValidationAttempts,
        timeoutMs: config.roomValidationTimeoutMs,
        acceptOccupied: config.roomValidationAcceptOccupied,
      },
    }),
    options(DeleteSchedulerOptions, {
      pollIntervalMs: config.deletePollIntervalMs,
      patienceMs: config.deletePatienceMs,
    }),
    options(HealthCycleOptions, {
      limits,
      addLimit: config.addRoomsLimit,
      removeLimit: config.removeRoomsLimit,
    }),
    options(BacktestsOptions, {
      limits,
      addLimit: config.addRoomsLimit,
      removeLimit: config.removeRoomsLimit,
      bounds: boundsOfRequests,
    }),
    options(HealthScheduleOptions, {
      healthIntervalMs: config.healthIntervalMs,
      syncIntervalMs: config.schedulerSyncIntervalMs,
    }),
    options(RoomLifecycleOptions, { fallbackPortRange: config.fallbackPortRange }),
    options(RoomAllocationsOptions, {
      ttlMs: config.roomAllocationTtlMs,
      pingTimeoutMs: config.roomPingTimeoutMs,
      adoptionHoldMs,
    }),
    options(AllocationWaitsOptions, {
      maxCallers: config.maxWaitingCallers,
      // Notices tell who was served; the look is for those that were lost, and costs the store a call of each who waits.
      pollIntervalMs: 5_000,
      // Two looks may fail, as while the store is away for a moment; short, because a room may be given to who is dead.
      aliveMs: 15_000,
    }),
    options(AllocationExpiryOptions, { intervalMs: config.allocationExpiryIntervalMs }),
    options(FleetRoomsOptions, { limits, adoptionHoldMs }),
    options(RoomsApiOptions, { maxMetadataBytes: config.maxMetadataBytes }),
    options(RoomStreamsOptions, {
      maxMetadataBytes: config.maxMetadataBytes,
      idleTimeoutMs: config.roomStreamIdleTimeoutMs ?? config.roomPingTimeoutMs,
    }),
    options(HealthRingsOptions, { intervalMs: config.healthRingIntervalMs }),
    options(HearingHeartbeatOptions, { intervalMs: config.hearingIntervalMs }),
    options(InstanceWatchOptions, {
      owner,
      leaseTtlMs,
      reconcileIntervalMs: config.reconcileIntervalMs,
      doubtIntervalMs: config.doubtIntervalMs,
      syncCheckIntervalMs: config.doubtIntervalMs,
      strayInstanceAgeMs: 60_000,
      creationDeadlineMs,
      hostPortPatienceMs: config.hostPortPatienceMs,
    }),
    options(MatchProtectionOptions, {
      owner,
      leaseTtlMs,
      callsPerSecond: config.protectionCallsPerSecond,
      releaseDelayMs: config.protectionReleaseDelayMs,
      budgetIntervalMs: config.disruptionBudgetIntervalMs,
      budgetRefreshMs: config.disruptionBudgetIntervalMs,
      compareIntervalMs: config.reconcileIntervalMs,
      // A whole list of a cluster is no small thing to ask for; what begins meanwhile is heard of all the same.
      compareRetryMs: 10_000,
      adoptionHoldMs,
    }),
    options(FleetReporterOptions, { owner, leaseTtlMs, intervalMs: config.reporterIntervalMs }),
  ];
}

function options<T extends object>(token: new () => T, value: T): Provider {
  return { provide: token, useValue: Object.freeze(value) };
}
