import { scheduleProblem } from '../autoscaling/schedule-windows';
import type {
  ChainParameters,
  FixedBufferParameters,
  NestedPolicy,
  RoomOccupancyParameters,
  ScheduleParameters,
  ScheduleWindow,
  SchedulerDefinition,
  SchedulerExtensions,
  WebhookParameters,
} from './scheduler';

/** Policy types that v10 does not know, in the order in which they follow v10's. Their parameters are extensions. */
export const extensionPolicyTypes = ['schedule', 'webhook', 'chain'] as const;

/** One level of nesting: a chain holds no chain, and under a schedule is neither a chain nor a schedule. */
const chainedTypes = ['roomOccupancy', 'fixedBuffer', 'schedule', 'webhook'] as const;
const baseTypes = ['roomOccupancy', 'fixedBuffer', 'webhook'] as const;

/** More than a year's calendar of special days needs; each is looked at in every health cycle. */
const maxWindows = 100;
const maxChainedPolicies = 10;
const maxWindowSeconds = 31 * 24 * 3600;
const maxWebhookTimeoutMs = 30_000;
/** As long as what is known to pass through every proxy and log; the record of each look holds it. */
const maxWebhookUrlLength = 2_048;
const maxStabilizationSeconds = 3600;
const maxFailureWindowSeconds = 3600;

/** The rest of a sentence that begins with the field, or false where the rule holds. */
type Rule = string | false;

const required = (isMissing: boolean): Rule => isMissing && 'is a required field';
const oneOf = (value: string, options: readonly string[]): Rule =>
  !options.includes(value) && `must be one of [${options.join(' ')}]`;
// Negated, so that NaN, which a float on the wire may be, breaks them.
const atLeast = (value: number, min: number): Rule => !(value >= min) && `must be ${min} or greater`;
const atMost = (value: number, max: number): Rule => !(value <= max) && `must be ${max} or less`;
const greaterThan = (value: number, bound: number): Rule => !(value > bound) && `must be greater than ${bound}`;
const lessThan = (value: number, bound: number): Rule => !(value < bound) && `must be less than ${bound}`;

/** The first rule that fails of the field at the end of `path`, as a line like v10's. */
function check(path: string, ...rules: Rule[]): string[] {
  const failure = rules.find((rule) => rule !== false);
  return failure === undefined ? [] : [`${path}: ${path.slice(path.lastIndexOf('.') + 1)} ${failure}`];
}

/** `schedule` as in a path: `Schedule`. */
const fieldOf = (type: string): string => type.charAt(0).toUpperCase() + type.slice(1);

/**
 * What is wrong with the extensions of a definition, one line per field in the style of v10's (`validateScheduler`), with paths
 * from `Scheduler.Extensions`; empty when nothing is, also without extensions. Parameters are checked whether their policy is the
 * one that decides or not, as v10 does; a policy of one of our types must have its own.
 */
export function validateExtensions({ autoscaling, extensions = {} }: SchedulerDefinition): string[] {
  const path = 'Scheduler.Extensions';
  const type = extensionPolicyTypes.find((known) => known === autoscaling?.policy.type);
  return [
    ...(type === undefined ? [] : parametersMissing(`${path}.Autoscaling`, type, extensions.autoscaling?.[type])),
    ...(extensions.autoscaling ? autoscalingProblems(`${path}.Autoscaling`, extensions.autoscaling) : []),
    ...(extensions.rollout ? rolloutProblems(`${path}.Rollout`, extensions.rollout) : []),
    ...(extensions.drain ? drainProblems(`${path}.Drain`, extensions.drain) : []),
  ];
}

function parametersMissing(path: string, type: string, parameters: object | undefined): string[] {
  const isMissing = parameters === undefined;
  return check(`${path}.${fieldOf(type)}`, isMissing && `is a required field of the policy type ${type}`);
}

function autoscalingProblems(
  path: string,
  {
    schedule,
    webhook,
    chain,
    scaleUpStabilizationSeconds: up = 0,
    scaleDownStabilizationSeconds: down = 0,
  }: NonNullable<SchedulerExtensions['autoscaling']>,
): string[] {
  return [
    ...(schedule ? scheduleProblems(`${path}.Schedule`, schedule) : []),
    ...(webhook ? webhookProblems(`${path}.Webhook`, webhook) : []),
    ...(chain ? chainProblems(`${path}.Chain`, chain) : []),
    ...check(`${path}.ScaleUpStabilizationSeconds`, atLeast(up, 0), atMost(up, maxStabilizationSeconds)),
    ...check(`${path}.ScaleDownStabilizationSeconds`, atLeast(down, 0), atMost(down, maxStabilizationSeconds)),
  ];
}

function rolloutProblems(
  path: string,
  { failureShare: share, failureWindowSeconds: window }: NonNullable<SchedulerExtensions['rollout']>,
): string[] {
  return [
    ...(share === undefined ? [] : check(`${path}.FailureShare`, greaterThan(share, 0), atMost(share, 1))),
    ...(window === undefined
      ? []
      : check(`${path}.FailureWindowSeconds`, atLeast(window, 1), atMost(window, maxFailureWindowSeconds))),
  ];
}

function drainProblems(path: string, { deadlineSeconds }: NonNullable<SchedulerExtensions['drain']>): string[] {
  return deadlineSeconds === undefined ? [] : check(`${path}.DeadlineSeconds`, atLeast(deadlineSeconds, 1));
}

function scheduleProblems(path: string, { windows, base }: ScheduleParameters): string[] {
  const isTooLong = windows.length > maxWindows && `must have ${maxWindows} entries or less`;
  return [
    ...check(`${path}.Windows`, required(windows.length === 0), isTooLong),
    ...windows.slice(0, maxWindows).flatMap((window, index) => windowProblems(`${path}.Windows[${index}]`, window)),
    ...(base ? policyProblems(`${path}.Base`, base, baseTypes) : []),
  ];
}

function windowProblems(path: string, window: ScheduleWindow): string[] {
  const { cron, timezone, durationSeconds, min, buffer } = window;
  const isZone = isTimeZone(timezone);
  // What an expression may say is the same in every time zone: a wrong one hides no wrong expression.
  const cronProblem = cron === '' ? null : scheduleProblem({ cron, timezone: isZone ? timezone : 'UTC' });
  return [
    ...check(`${path}.Cron`, required(cron === ''), cronProblem !== null && cronProblem),
    ...check(`${path}.Timezone`, !isZone && 'must be the name of an IANA time zone'),
    ...check(`${path}.DurationSeconds`, atLeast(durationSeconds, 1), atMost(durationSeconds, maxWindowSeconds)),
    ...check(`${path}.Min`, atLeast(min, 0), min === 0 && buffer === 0 && 'or Buffer must be greater than 0'),
    ...check(`${path}.Buffer`, atLeast(buffer, 0)),
  ];
}

/** Whether this machine's time zone data knows the name, as it will have to when the window is looked at. */
function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

function webhookProblems(path: string, { url, timeoutMs, maxAnswerAgeSeconds }: WebhookParameters): string[] {
  return [
    ...check(
      `${path}.Url`,
      required(url === ''),
      url.length > maxWebhookUrlLength && `must have ${maxWebhookUrlLength} characters or less`,
      !isCallableUrl(url) && 'must be an http or https URL without user name and password',
    ),
    ...check(`${path}.TimeoutMs`, atLeast(timeoutMs, 1), atMost(timeoutMs, maxWebhookTimeoutMs)),
    ...check(`${path}.MaxAnswerAgeSeconds`, atLeast(maxAnswerAgeSeconds, 0)),
  ];
}

/** `fetch` refuses URLs with a user name or password, and answers would show them to everybody. */
function isCallableUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  return (protocol === 'http:' || protocol === 'https:') && username === '' && password === '';
}

function chainProblems(path: string, { policies }: ChainParameters): string[] {
  const isTooLong = policies.length > maxChainedPolicies && `must have ${maxChainedPolicies} entries or less`;
  return [
    ...check(`${path}.Policies`, required(policies.length === 0), isTooLong),
    ...policies
      .slice(0, maxChainedPolicies)
      .flatMap((policy, index) => policyProblems(`${path}.Policies[${index}]`, policy, chainedTypes)),
  ];
}

function policyProblems(path: string, policy: NestedPolicy, types: readonly (typeof chainedTypes)[number][]): string[] {
  const { roomOccupancy, fixedBuffer, schedule, webhook } = policy;
  const type = types.find((known) => known === policy.type);
  return [
    ...check(`${path}.Type`, oneOf(policy.type, types)),
    ...(type === undefined ? [] : parametersMissing(path, type, policy[type])),
    ...(roomOccupancy ? occupancyProblems(`${path}.RoomOccupancy`, roomOccupancy) : []),
    ...(fixedBuffer ? bufferProblems(`${path}.FixedBuffer`, fixedBuffer) : []),
    // Where a type is not allowed, its parameters say nothing.
    ...(schedule && types.includes('schedule') ? scheduleProblems(`${path}.Schedule`, schedule) : []),
    ...(webhook ? webhookProblems(`${path}.Webhook`, webhook) : []),
  ];
}

function occupancyProblems(path: string, { readyTarget, downThreshold }: RoomOccupancyParameters): string[] {
  return [
    ...check(`${path}.ReadyTarget`, greaterThan(readyTarget, 0), lessThan(readyTarget, 1)),
    ...check(`${path}.DownThreshold`, greaterThan(downThreshold, 0), lessThan(downThreshold, 1)),
  ];
}

function bufferProblems(path: string, { amount }: FixedBufferParameters): string[] {
  return check(`${path}.Amount`, greaterThan(amount, 0));
}
