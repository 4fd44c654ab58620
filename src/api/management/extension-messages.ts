import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  NestedPolicy,
  RoomOccupancyParameters,
  ScheduleParameters,
  SchedulerExtensions,
  WebhookParameters,
} from '../../domain/scheduler/scheduler';
import type { PatchSchedulerExtensions } from '../../proto/gen/maestro/extensions/v1/patch_scheduler_extensions_pb';
import type {
  AutoscalingExtensions as AutoscalingExtensionsMessage,
  BasePolicy as BasePolicyMessage,
  ChainedPolicy as ChainedPolicyMessage,
  RolloutExtensions as RolloutExtensionsMessage,
  RoomOccupancyParameters as RoomOccupancyParametersMessage,
  ScheduleParameters as ScheduleParametersMessage,
  SchedulerExtensions as SchedulerExtensionsMessage,
  SchedulerExtensionsSchema,
  WebhookParameters as WebhookParametersMessage,
} from '../../proto/gen/maestro/extensions/v1/scheduler_extensions_pb';
import { shortestFloat32 } from '../shortest-float32';

// Defaults that the .proto file tells.
const defaultTimezone = 'UTC';
const defaultDownThreshold = 0.99;
const defaultWebhookTimeoutMs = 1000;
const defaultMaxAnswerAgeSeconds = 300;

type AutoscalingExtensions = NonNullable<SchedulerExtensions['autoscaling']>;
type RolloutExtensions = NonNullable<SchedulerExtensions['rollout']>;

/** What a request says in its extensions. An empty part is there: it is how a part of a patch is emptied. */
export function extensionsFromMessage(
  message: SchedulerExtensionsMessage | PatchSchedulerExtensions,
): SchedulerExtensions {
  const { autoscaling, rollout, drain } = message;
  return {
    ...(autoscaling && { autoscaling: autoscalingFromMessage(autoscaling) }),
    ...(rollout && { rollout: rolloutFromMessage(rollout) }),
    ...(drain && { drain: drain.deadlineSeconds === undefined ? {} : { deadlineSeconds: drain.deadlineSeconds } }),
  };
}

function autoscalingFromMessage(message: AutoscalingExtensionsMessage): AutoscalingExtensions {
  const { schedule, webhook, chain, scaleUpStabilizationSeconds, scaleDownStabilizationSeconds } = message;
  return {
    ...(schedule && { schedule: scheduleFromMessage(schedule) }),
    ...(webhook && { webhook: webhookFromMessage(webhook) }),
    ...(chain && { chain: { policies: chain.policies.map(policyFromMessage) } }),
    ...(scaleUpStabilizationSeconds !== undefined && { scaleUpStabilizationSeconds }),
    ...(scaleDownStabilizationSeconds !== undefined && { scaleDownStabilizationSeconds }),
  };
}

function rolloutFromMessage(message: RolloutExtensionsMessage): RolloutExtensions {
  const { automaticRollback, failureShare, failureWindowSeconds } = message;
  return {
    ...(automaticRollback !== undefined && { automaticRollback }),
    ...(failureShare !== undefined && { failureShare: shortestFloat32(failureShare) }),
    ...(failureWindowSeconds !== undefined && { failureWindowSeconds }),
  };
}

function scheduleFromMessage({ windows, base }: ScheduleParametersMessage): ScheduleParameters {
  return {
    windows: windows.map(({ cron, timezone, durationSeconds, min, buffer }) => ({
      cron,
      timezone: timezone || defaultTimezone,
      durationSeconds,
      min,
      buffer,
    })),
    ...(base && { base: policyFromMessage(base) }),
  };
}

function webhookFromMessage({ url, timeoutMs, maxAnswerAgeSeconds }: WebhookParametersMessage): WebhookParameters {
  return {
    url,
    timeoutMs: timeoutMs ?? defaultWebhookTimeoutMs,
    maxAnswerAgeSeconds: maxAnswerAgeSeconds ?? defaultMaxAnswerAgeSeconds,
  };
}

function policyFromMessage(message: ChainedPolicyMessage | BasePolicyMessage): NestedPolicy {
  const { type, roomOccupancy, fixedBuffer, webhook } = message;
  const schedule = 'schedule' in message ? message.schedule : undefined;
  return {
    type,
    ...(roomOccupancy && { roomOccupancy: occupancyFromMessage(roomOccupancy) }),
    ...(fixedBuffer && { fixedBuffer: { amount: fixedBuffer.amount } }),
    ...(schedule && { schedule: scheduleFromMessage(schedule) }),
    ...(webhook && { webhook: webhookFromMessage(webhook) }),
  };
}

function occupancyFromMessage(message: RoomOccupancyParametersMessage): RoomOccupancyParameters {
  return {
    readyTarget: shortestFloat32(message.readyTarget),
    // 0 counts as absent, as in v10's policy.
    downThreshold: shortestFloat32(message.downThreshold || defaultDownThreshold),
  };
}

/** Extensions as an answer tells them: the wire's names and units are the domain's. */
export function extensionsMessage(extensions: SchedulerExtensions): MessageInitShape<typeof SchedulerExtensionsSchema> {
  return structuredClone(extensions);
}
