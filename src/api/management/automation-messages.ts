import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Operation } from '../../domain/operation/operation';
import type { AutomationReport, RolloutAnswer } from '../../features/reconciling/automation-reports.service';
import type { HealthRecord } from '../../ports/health-records';
import type { PausedAutomation } from '../../ports/scheduler-store';
import type {
  AutomationInputsSchema,
  AutomationStateSchema,
  AutomaticRollbackSchema,
  ExplainSchedulerResponseSchema,
  FailedVersionChangeSchema,
  GetRolloutResponseSchema,
  OpenOperationSchema,
  OpenVersionChangeSchema,
} from '../../proto/gen/maestro/v1/scheduler_automation_pb';

export function automationStateMessage(
  paused: PausedAutomation | null,
): MessageInitShape<typeof AutomationStateSchema> {
  if (paused === null) return { paused: false };
  const { since, by, reason } = paused;
  return { paused: true, since: timestampFromDate(since), by, reason };
}

export function automationReportMessage({
  record,
  blockedBy,
  nextLookAtMs,
  paused,
  busyWith,
}: AutomationReport): MessageInitShape<typeof ExplainSchedulerResponseSchema> {
  return {
    ...(record === null ? {} : recordMessage(record)),
    blockedBy,
    ...(nextLookAtMs === null ? {} : { nextLookAt: timestampFromMs(nextLookAtMs) }),
    automation: automationStateMessage(paused),
    ...(busyWith === null ? {} : { busyWith: openOperationMessage(busyWith) }),
  };
}

export function rolloutMessage(rollout: RolloutAnswer): MessageInitShape<typeof GetRolloutResponseSchema> {
  const { phase, version, replacedVersions, rooms, progress, waitsFor } = rollout;
  const { endsAtMs, latestEndMs, seenAtMs, versionChange, rolledBack, failedChange } = rollout;
  return {
    phase,
    version,
    replacedVersions,
    ...(rooms === null
      ? {}
      : {
          rooms: {
            outdated: rooms.outdated,
            leavingWithMatch: rooms.leaving,
            starting: rooms.starting,
            updated: rooms.updated,
            mostAtOnce: rooms.upper,
          },
        }),
    // Cut, not rounded: what is not over is not 1.
    ...(progress === null ? {} : { progress: Math.floor(progress * 1000) / 1000 }),
    waitsFor,
    ...(endsAtMs === null ? {} : { estimatedEndAt: timestampFromMs(endsAtMs) }),
    ...(latestEndMs === null ? {} : { latestEndAt: timestampFromMs(latestEndMs) }),
    ...(seenAtMs === null ? {} : { seenAt: timestampFromMs(seenAtMs) }),
    ...(versionChange === null ? {} : { versionChange: versionChangeMessage(versionChange) }),
    ...(rolledBack === null ? {} : { automaticRollback: rollbackMessage(version, rolledBack.operation) }),
    ...(failedChange === null ? {} : { failedVersionChange: failedChangeMessage(failedChange) }),
  };
}

function recordMessage(record: HealthRecord) {
  const { seenAtMs, version, inputs, formula, desired, notes, actions } = record;
  return {
    seenAt: timestampFromMs(seenAtMs),
    version,
    inputs: inputsMessage(inputs),
    formula,
    ...(desired === null ? {} : { desired }),
    notes,
    actions,
  };
}

function inputsMessage(inputs: HealthRecord['inputs']): MessageInitShape<typeof AutomationInputsSchema> {
  const { counts, available, draining, min, max, lastDownscaleAtMs, ...others } = inputs;
  return {
    ...others,
    ...(counts === null ? {} : { rooms: { ...counts.rooms }, runningMatches: counts.runningMatches }),
    ...(available === null ? {} : { available }),
    ...(draining === null ? {} : { draining }),
    ...(min === null ? {} : { min }),
    ...(max === null ? {} : { max }),
    ...(lastDownscaleAtMs === null ? {} : { lastDownscaleAt: timestampFromMs(lastDownscaleAtMs) }),
  };
}

function openOperationMessage(operation: Operation): MessageInitShape<typeof OpenOperationSchema> {
  const { id, definition, status, actor, reason } = operation;
  return { id, definition, status, actor, reason };
}

function versionChangeMessage(operation: Operation): MessageInitShape<typeof OpenVersionChangeSchema> {
  return {
    operation: openOperationMessage(operation),
    version: versionToSwitchTo(operation),
    waiting: operation.waiting,
  };
}

function failedChangeMessage({
  operation,
  reason,
}: NonNullable<RolloutAnswer['failedChange']>): MessageInitShape<typeof FailedVersionChangeSchema> {
  const { id, definition, status, actor, finishedAt } = operation;
  return {
    operationId: id,
    definition,
    status,
    actor,
    version: versionToSwitchTo(operation),
    reason,
    ...(finishedAt === null ? {} : { at: timestampFromDate(finishedAt) }),
  };
}

/** Empty where it is the newest, or is still to be made. */
function versionToSwitchTo({ input }: Operation): string {
  return (input as { newActiveVersion?: string }).newActiveVersion ?? '';
}

function rollbackMessage(
  version: string,
  operation: Operation | null,
): MessageInitShape<typeof AutomaticRollbackSchema> {
  if (operation === null) return { version };
  const { id, reason, finishedAt } = operation;
  return { version, operationId: id, reason, ...(finishedAt === null ? {} : { at: timestampFromDate(finishedAt) }) };
}
