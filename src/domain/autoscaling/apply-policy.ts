import { earliest } from '../earliest';
import { DomainError } from '../errors';
import { asClause } from '../phrases';
import type { FleetCounts } from '../room/room';
import type {
  ChainParameters,
  NestedPolicy,
  ScheduleParameters,
  ScheduleWindow,
  WebhookParameters,
} from '../scheduler/scheduler';
import {
  downscaleByFixedBuffer,
  downscaleByOccupancy,
  downscaleToWanted,
  type DownscaleDecision,
} from './downscale-by-policy';
import type { FleetSettings } from './fleet-settings';
import type { PolicyFacts, WebhookSilence } from './policy-facts';
import { roomsByFixedBuffer, roomsByOccupancy, roomsInUse } from './rooms-by-policy';
import { windowState } from './schedule-windows';

/** A policy of any type, wherever its parameters stand. */
export interface AnyPolicy extends NestedPolicy {
  chain?: ChainParameters;
}

/** What a policy says now. */
export type PolicyVerdict = {
  /** With numbers, for "explain". */
  formula: string;
  /** When this may change with time alone; null when no time is known. */
  nextChangeAtMs: number | null;
  /** Sentences that someone may want to look at. */
  notes: string[];
} & (
  | {
      applies: true;
      /** Before min and max. */
      rooms: number;
      /** By the policy's own rule. */
      judgeDownscale: () => DownscaleDecision;
    }
  /** It says nothing. */
  | { applies: false }
);

/** What a policy is applied to. */
export interface PolicySubject {
  settings: FleetSettings;
  counts: FleetCounts;
  facts: PolicyFacts | undefined;
}

/** The scheduler's policy; null without autoscaling. */
export function policyOf({ autoscaling, extensions }: FleetSettings): AnyPolicy | null {
  if (!autoscaling?.enabled) return null;
  const { type, parameters } = autoscaling.policy;
  const { schedule, webhook, chain } = extensions?.autoscaling ?? {};
  return { type, ...parameters, schedule, webhook, chain };
}

/**
 * What the policy says of this fleet now.
 *
 * @throws DomainError `autoscaling.policy_invalid` for a policy without parameters of its type, and `autoscaling.facts_missing` for
 *   one that goes by facts which were not given.
 */
export function applyPolicy(policy: AnyPolicy, subject: PolicySubject): PolicyVerdict {
  const { type, roomOccupancy, fixedBuffer, schedule, webhook, chain } = policy;
  const { counts, settings } = subject;
  const { maxMatches } = settings.matchAllocation;
  if (type === 'roomOccupancy' && roomOccupancy) {
    const judgeDownscale = () => downscaleByOccupancy(roomOccupancy, counts, maxMatches);
    return { applies: true, ...roomsByOccupancy(roomOccupancy, counts, maxMatches), ...timeless(), judgeDownscale };
  }
  if (type === 'fixedBuffer' && fixedBuffer) {
    const judgeDownscale = () => downscaleByFixedBuffer(fixedBuffer, counts);
    return { applies: true, ...roomsByFixedBuffer(fixedBuffer, counts), ...timeless(), judgeDownscale };
  }
  if (type === 'schedule' && schedule) return applySchedule(schedule, subject);
  if (type === 'webhook' && webhook) return applyWebhook(webhook, subject);
  if (type === 'chain' && chain) return applyChain(chain, subject);
  throw new DomainError(
    'failed_precondition',
    'autoscaling.policy_invalid',
    `The autoscaling policy ${type || 'without a type'} has no parameters of its own; create a version that has them.`,
  );
}

/** Nothing but the fleet changes what it says. */
function timeless(): { nextChangeAtMs: null; notes: string[] } {
  return { nextChangeAtMs: null, notes: [] };
}

/** At least what each open window wants, and what the base says; the base alone outside of the windows. */
function applySchedule({ windows, base }: ScheduleParameters, subject: PolicySubject): PolicyVerdict {
  const { counts } = subject;
  const { nowMs } = factsFor('schedule', subject);
  const states = windows.map((window) => ({ window, state: windowState(window, nowMs) }));
  const nextChangeAtMs = earliest(states.map(({ state }) => (state.open ? state.untilMs : state.opensAtMs)));
  const wishes = states
    .flatMap(({ window, state }) => (state.open ? [{ ...wishOf(window, counts), window, untilMs: state.untilMs }] : []))
    .sort((a, b) => b.rooms - a.rooms);
  const [greatest] = wishes;
  const below = base ? applyPolicy(base, subject) : null;

  const parts: string[] = [];
  if (greatest) {
    const { window, untilMs, rooms, because } = greatest;
    const others = wishes.length === 1 ? '' : `, the most of ${wishes.length} that are open`;
    parts.push(
      `schedule: window ${window.cron} (${window.timezone}) until ${iso(untilMs)} wants ${because} = ${rooms}${others}`,
    );
  } else {
    const until = nextChangeAtMs === null ? '' : ` until ${iso(nextChangeAtMs)}`;
    parts.push(below?.applies ? `schedule: no window${until || ' opens'}` : `schedule does not apply${until}`);
  }
  if (below) parts.push(below.formula);
  const rooms = Math.max(greatest?.rooms ?? 0, below?.applies ? below.rooms : 0);
  if (greatest && below?.applies) parts.push(`the most is ${rooms}`);
  const said = {
    formula: parts.join('; '),
    nextChangeAtMs: earliest([nextChangeAtMs, below?.nextChangeAtMs ?? null]),
    notes: below?.notes ?? [],
  };

  if (below?.applies) return { applies: true, rooms, judgeDownscale: below.judgeDownscale, ...said };
  if (!greatest) return { applies: false, ...said };
  return { applies: true, rooms, judgeDownscale: () => downscaleToWanted('schedule', counts, rooms), ...said };
}

/** How many rooms a window wants while it is open. */
function wishOf({ min, buffer }: ScheduleWindow, counts: FleetCounts): { rooms: number; because: string } {
  const inUse = roomsInUse(counts);
  if (buffer === 0) return { rooms: min, because: 'min' };
  const buffered = `${inUse} in use + ${buffer}`;
  if (min === 0) return { rooms: inUse + buffer, because: buffered };
  return { rooms: Math.max(min, inUse + buffer), because: `max(${min}, ${buffered})` };
}

/**
 * The last good answer, until it is too old. While the webhook answers, when that will be is no time to look at the fleet for: each
 * look asks again. While it does not, the fleet is looked at when it is asked again, and when its last answer ends.
 */
function applyWebhook({ url, maxAnswerAgeSeconds }: WebhookParameters, subject: PolicySubject): PolicyVerdict {
  const { nowMs, webhookAnswers, webhookSilences } = factsFor('webhook', subject);
  const answer = webhookAnswers?.get(url);
  const silence = webhookSilences?.get(url);
  const name = `webhook ${nameOfWebhook(url)}`;
  const silent = (because: string): PolicyVerdict => ({
    applies: false,
    formula: `${name} does not apply: ${because}`,
    nextChangeAtMs: silence?.askedAgainAtMs ?? null,
    notes: [[`The ${name} says nothing: ${because}.`, ...(silence ? describeSilence('It', silence) : [])].join(' ')],
  });
  if (!answer) return silent('it has not answered yet');
  const { desired, atMs } = answer;
  const holdsUntilMs = atMs + maxAnswerAgeSeconds * 1000;
  if (nowMs > holdsUntilMs) {
    return silent(`its last answer, ${desired} at ${iso(atMs)}, is older than ${maxAnswerAgeSeconds} s`);
  }
  const lasts = `Its last answer, ${desired} at ${iso(atMs)}, holds until ${iso(holdsUntilMs)}.`;
  return {
    applies: true,
    rooms: desired,
    formula: `${name}: answered at ${iso(atMs)} = ${desired}`,
    nextChangeAtMs: silence ? earliest([silence.askedAgainAtMs, holdsUntilMs + 1]) : null,
    notes: silence ? [[...describeSilence(`The ${name}`, silence), lasts].join(' ')] : [],
    judgeDownscale: () => downscaleToWanted('webhook', subject.counts, desired),
  };
}

/** Sentences: what went wrong, and what comes next. */
function describeSilence(who: string, { failure, askedAtMs, askedAgainAtMs }: WebhookSilence): string[] {
  const failed = failure && `${who} failed at ${iso(failure.atMs)}: ${asClause(failure.detail)}.`;
  const it = failed === null ? who : 'It';
  const asked =
    askedAtMs === null
      ? null
      : `${it} was asked${failed === null ? '' : ' again'} at ${iso(askedAtMs)}, and this look goes on without it; another one follows when it answers.`;
  const next = askedAgainAtMs === null ? null : `${it} is asked again at ${iso(askedAgainAtMs)}.`;
  return [failed, asked, next].filter((sentence) => sentence !== null);
}

/** The first that applies. The formula tells of those before it, too. */
function applyChain({ policies }: ChainParameters, subject: PolicySubject): PolicyVerdict {
  const seen: PolicyVerdict[] = [];
  for (const policy of policies) {
    const verdict = applyPolicy(policy, subject);
    seen.push(verdict);
    if (verdict.applies) break;
  }
  const said = {
    formula: `chain: ${seen.map(({ formula }) => formula).join('; ')}`,
    nextChangeAtMs: earliest(seen.map((verdict) => verdict.nextChangeAtMs)),
    notes: seen.flatMap(({ notes }) => notes),
  };
  const last = seen.at(-1);
  return last?.applies ? { ...last, ...said } : { applies: false, ...said };
}

function factsFor(type: string, { facts }: PolicySubject): PolicyFacts {
  if (facts) return facts;
  throw new DomainError('internal', 'autoscaling.facts_missing', `A policy of type ${type} goes by facts; give them.`);
}

/** A webhook's URL without what may be a secret of the game's (`?token=`). */
export function nameOfWebhook(url: string): string {
  if (!URL.canParse(url)) return url;
  const { host, pathname } = new URL(url);
  return `${host}${pathname}`;
}

function iso(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
