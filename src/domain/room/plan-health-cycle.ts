import { canDownscale, cooldownEndsAtMs } from '../autoscaling/can-downscale';
import { desiredRooms, type DesiredRooms } from '../autoscaling/desired-rooms';
import type { FleetSettings } from '../autoscaling/fleet-settings';
import type { WebhookAnswer, WebhookSilence } from '../autoscaling/policy-facts';
import { stabilisationOf, stabilise, type Recommendation } from '../autoscaling/stabilise';
import { earliest } from '../earliest';
import { DomainError } from '../errors';
import { counted } from '../phrases';
import { judgeRollout, type RolloutRollback } from '../rollout/judge-rollout';
import { planReplacement, type ReplacementPlan, type RolloutProgress } from '../rollout/plan-replacement';
import { surgeRooms } from '../rollout/surge-rooms';
import type { RemovalReason } from '../operation/operation';
import { chooseRemovals } from './choose-removals';
import { errorDeadlineMs, type ExpiryReason, type HearingFacts, type RoomLimits } from './classify-room';
import { countFleet } from './count-fleet';
import { lacksHostPort } from './failure-reason';
import { freeSlots, usedSlots } from './free-slots';
import { hasMatch, isUp, type DrainReason, type FleetCounts, type Room } from './room';
import { nextHearingLookMs, sortFleet, type SortedFleet } from './sort-fleet';
import { describeEarlyEnds, earlyEndAgeMs, nextStartAtMs, replacementsOwed, type EarlyEnds } from './start-back-off';

export interface HealthFacts extends HearingFacts {
  rooms: readonly Room[];
  scheduler: FleetSettings & {
    /** The active version. */
    version: string;
    /** `"5"` or `"25%"`. */
    maxSurge: string;
  };
  /** Versions whose rooms are to be replaced: those that differ from the active one in what a room is started with. */
  replacedVersions: ReadonlySet<string>;
  /** What ends a rollout whose rooms fail: failures of the active version's rooms within the window (`VersionFailures`). */
  rollback: {
    /** Empty when there is none to go back to. */
    toVersion: string;
    /** False where the scheduler does not want it, and for a version that a rollback has brought back. */
    isAllowed: boolean;
    failed: number;
    lastReason: string;
    failureShare: number;
    failureWindowMs: number;
    /** When the last look was at which rooms of replaced versions were not draining yet; null when it is not known that there was one. */
    outdatedAtMs: number | null;
  };
  /** Somebody has paused the scheduler's automation: nothing is done, and the plan says so. Null when nobody has. */
  paused: { sinceMs: number; by: string; reason: string } | null;
  /** The store does not know all rooms yet (after a flush): nothing may be decided. */
  rebuilding: boolean;
  lastDownscaleAtMs: number | null;
  /** Rooms that failed or ended soon after their start. */
  earlyEnds: EarlyEnds;
  /** The last good answers of webhooks that the policy goes by, by their URLs. */
  webhookAnswers: ReadonlyMap<string, WebhookAnswer>;
  /** Of those that did not answer this look. */
  webhookSilences: ReadonlyMap<string, WebhookSilence>;
  /** What the last plan came to; null when it is not known. */
  last: { desired: number | null; remembered: readonly Recommendation[] } | null;
  limits: RoomLimits;
  /** At most so many rooms are added, or scaled down, in one cycle. */
  addLimit: number;
  removeLimit: number;
}

export interface HealthBlock {
  code:
    /** No decision at all. */
    | 'rebuilding'
    /** Somebody wants it so. */
    | 'paused'
    /** Too many rooms fell silent together: it is more likely that we do not hear them. Someone should look. */
    | 'mass_silence'
    /** Rooms keep failing, or ending right after their start: the next ones wait. */
    | 'breaker'
    /** As `breaker`, and what the last one lacked was a host port: the range is used up, or no machine has any of it free. */
    | 'ports'
    /** The version before comes back first. */
    | 'rollback'
    /** The autoscaling's policy cannot be applied: nobody knows how many rooms there should be. Someone should look. */
    | 'policy'
    /** More rooms are wanted than the autoscaling's max allows. */
    | 'max'
    /** The policy's gates hold a scale-down back. */
    | 'cooldown'
    | 'threshold'
    /** What is wanted has not been wanted for long enough. */
    | 'stabilization'
    /** A rollout waits: for new rooms to be up, for matches to end. */
    | 'surge'
    | 'matches'
    /** A rollout, or a scale-down, waits: else fewer slots would be free now than are wanted. */
    | 'ready_buffer'
    /** At most so many rooms are added, or removed, at once. */
    | 'limit'
    /** More rooms are too many than may be removed: they have matches, or may have. */
    | 'no_removable_room';
  /** A sentence with the numbers. */
  detail: string;
}

/** Where a rollout stands. */
export interface RolloutState extends RolloutProgress {
  /** How many rooms may stand while it runs. */
  upper: number;
  /** When the last of the rooms that leave is ended, whatever runs there; null where the scheduler states no deadline, or none leaves. */
  deadlineAtMs: number | null;
}

/** What one health cycle does. Rooms are added, or become fewer, never both; expired and drained ones are removed besides. */
export interface HealthPlan {
  /** Rooms to make. */
  add: number;
  /** Rooms that are too many, first to go first: they are claimed, and go when they are empty one ping interval later. */
  claimIds: string[];
  /** Rooms of replaced versions that are to get no new players, first to go first. */
  drainIds: string[];
  /** Rooms whose drain is taken back. */
  released: { id: string; reason: DrainReason }[];
  /** Rooms to remove with reason `expired_room`; those are no capacity and are replaced in the same cycle. */
  expired: { id: string; reason: ExpiryReason }[];
  /** Rooms to remove that drained: they are empty, or out of time. */
  drained: { id: string; reason: RemovalReason }[];
  /** The rollout ends, and the version before comes back; null when it does not. */
  rollback: RolloutRollback | null;
  /** Where the rollout stands; null when none runs. */
  rollout: RolloutState | null;
  /** Null while rebuilding, and with a policy that cannot be applied: nobody knows. */
  desired: number | null;
  /** Rooms that count as capacity, used or not. Null while rebuilding. */
  available: number | null;
  /** What the decision was made from; null while rebuilding. */
  counts: FleetCounts | null;
  /** How `desired` came about; empty where that is null. */
  formula: string;
  /** What the next cycle has to be given (`HealthFacts.last`). */
  remembered: Recommendation[];
  /** Sentences: what someone may want to look at, though nothing is blocked. */
  notes: string[];
  /** What kept the plan from being more. */
  blockedBy: HealthBlock[];
  /** Until when rooms that are wanted are not started, because others keep failing (`breaker`, `ports`); null when none is held. */
  startsHeldUntilMs: number | null;
  /** Rooms keep failing and the fleet is not up: starts are held, or it is tried just now whether they need be any longer. */
  backsOff: boolean;
  /** When a block or a drain may end by itself and another look is due; null when nothing waits for a time. */
  nextLookAtMs: number | null;
}

/** A rebuild takes moments: look again soon. Milliseconds. */
const rebuildingLookMs = 1_000;

const nothing = {
  add: 0,
  claimIds: [],
  drainIds: [],
  released: [],
  expired: [],
  drained: [],
  rollback: null,
  startsHeldUntilMs: null,
} satisfies Partial<HealthPlan>;

/**
 * One health cycle, decided from a snapshot: which rooms are over, how many there should be, which versions make room for the
 * active one, and what brings one to the other. A level-based decision: asked again after its plan was carried out, it has
 * less to do, and in the end nothing.
 *
 * Promises: no room with a match (or that may have an unheard one) is scaled down, or goes because it drained, before the
 * deadline that the scheduler states; `claimIds` are never more than are too many; no slot that is free and wanted is taken by a
 * claim or a drain; no room is named twice; while rebuilding, nothing
 * happens, and while paused nothing that nobody ordered.
 * Where v10 differs: `rooms.md` 7.2-7.4, W2, W9-W12, W14, W27 (a max that is lowered holds, whatever the policy wants). The
 * policy sees available rooms only, and those that stay in use until their match ends because their version was replaced.
 *
 */
export function planHealthCycle(facts: HealthFacts): HealthPlan {
  if (facts.rebuilding) return planOfRebuilding(facts);
  const plan = planOfFleet(facts);
  const { paused } = facts;
  if (paused === null) return plan;
  const because = paused.reason === '' ? '' : `: ${paused.reason}`;
  const detail = `The automation is paused since ${new Date(paused.sinceMs).toISOString()} by ${paused.by}${because}.`;
  // That a fleet is not heard is no decision, and someone should look all the same.
  const silence = plan.blockedBy.filter(({ code }) => code === 'mass_silence');
  const blockedBy: HealthBlock[] = [{ code: 'paused', detail }, ...silence];
  // What an operator drains, an operator wants to go.
  const isOrdered = facts.rooms.some(({ drainReason }) => drainReason === 'operator');
  const drained = plan.drained.filter(({ reason }) => reason === 'drained');
  const nextLookAtMs = isOrdered ? plan.nextLookAtMs : null;
  return { ...plan, ...nothing, drained, backsOff: false, blockedBy, nextLookAtMs };
}

function planOfRebuilding({ nowMs, last }: HealthFacts): HealthPlan {
  const detail =
    'The room store is being rebuilt from the runtime; rooms are neither added nor removed until it is complete.';
  return {
    ...nothing,
    rollout: null,
    desired: null,
    available: null,
    counts: null,
    formula: '',
    remembered: [...(last?.remembered ?? [])],
    notes: [],
    blockedBy: [{ code: 'rebuilding', detail }],
    backsOff: false,
    nextLookAtMs: nowMs + rebuildingLookMs,
  };
}

function planOfFleet(facts: HealthFacts): HealthPlan {
  const { scheduler, nowMs } = facts;
  const fleet = sortFleet(facts);
  const supply = [...fleet.capacity, ...fleet.leaving];
  const counts = countDemand(supply);
  const available = supply.length;
  const blockedBy: HealthBlock[] = silenceBlocks(fleet);
  const looksAtMs = [...fleet.looksAtMs];

  let wanted: DesiredRooms;
  try {
    wanted = desiredRooms(scheduler, counts, facts);
  } catch (error) {
    if (!(error instanceof DomainError) || error.code !== 'autoscaling.policy_invalid') throw error;
    return planOfUnknownPolicy(facts, {
      fleet,
      counts,
      blockedBy: [...blockedBy, { code: 'policy', detail: error.message }],
    });
  }
  const { desired, heldBack, remembered } = stabilise(stabilisationOf(scheduler), {
    nowMs,
    recommended: wanted.desired,
    available: withoutSurge(facts, { fleet, available }),
    lastDesired: facts.last?.desired ?? null,
    remembered: facts.last?.remembered ?? [],
  });
  if (heldBack !== null) {
    blockedBy.push({ code: 'stabilization', detail: heldBack.detail });
    looksAtMs.push(heldBack.nextChangeAtMs);
  }
  if (wanted.nextChangeAtMs !== null) looksAtMs.push(wanted.nextChangeAtMs);
  if (wanted.limitedBy === 'max') blockedBy.push({ code: 'max', detail: `${wanted.formula}.` });

  const replacementFacts = {
    capacity: fleet.capacity,
    leaving: fleet.leaving,
    replacedVersions: facts.replacedVersions,
    spared: sparedOf(fleet),
    base: desired,
    maxMatches: scheduler.matchAllocation.maxMatches,
    maxSurge: scheduler.maxSurge,
    startsAreHeld: false,
  };
  const replacement = planReplacement(replacementFacts);
  const deadlineAtMs = deadlineOf(fleet.leaving, facts.limits);
  const target = replacement?.target ?? desired;
  // What is attempted, and may fail: the active version's part of the fleet.
  const attempted = target - (replacement === null ? 0 : replacement.progress.outdated + replacement.progress.leaving);
  const plan: HealthPlan = {
    ...nothing,
    released: fleet.released,
    expired: fleet.expired,
    drained: fleet.drained,
    rollout: replacement && { ...replacement.progress, upper: replacement.upper, deadlineAtMs },
    desired,
    available,
    counts,
    formula: wanted.formula,
    remembered,
    notes: wanted.notes,
    blockedBy,
    backsOff: nextStartAtMs(facts.earlyEnds, attempted) !== null && supply.filter(isUp).length < target,
    nextLookAtMs: null,
  };
  const done = (): HealthPlan => ({ ...plan, nextLookAtMs: earliest(looksAtMs) });

  const { toVersion, isAllowed, outdatedAtMs, ...failures } = facts.rollback;
  // Its last rooms fail as its first ones do; what happens long after it is done, or while some old match goes on and on, is no part of it.
  const isJudged =
    (replacement?.progress.outdated ?? 0) > 0 ||
    (outdatedAtMs !== null && nowMs - outdatedAtMs <= failures.failureWindowMs);
  if (isJudged) {
    const updated = replacement?.progress.updated ?? fleet.capacity.filter(isUp).length;
    plan.rollback = judgeRollout({
      ...failures,
      rollbackVersion: toVersion,
      mayRollBack: isAllowed,
      progress: { updated },
    });
    if (plan.rollback !== null) {
      const detail = `Rooms are neither added nor replaced before version ${plan.rollback.toVersion} is active again: ${plan.rollback.because}.`;
      blockedBy.push({ code: 'rollback', detail });
      // What the next version needs is for the next look to say, also which of the rooms that made room for this one it keeps.
      const forRollout = new Set(facts.rooms.flatMap(({ id, drainReason }) => (drainReason === 'rollout' ? [id] : [])));
      plan.drained = fleet.drained.filter(({ id }) => !forRollout.has(id));
      return done();
    }
  }

  if (available < target) {
    const held = addRooms(facts, { fleet, target, attempted, plan, looksAtMs });
    if (held && plan.add === 0 && replacement !== null) {
      drainOutdated(facts, planReplacement({ ...replacementFacts, startsAreHeld: true }), { plan, looksAtMs });
    }
    return done();
  }

  drainOutdated(facts, replacement, { plan, looksAtMs });
  if (replacement?.waitsFor) {
    const { code, detail } = replacement.waitsFor;
    const until =
      deadlineAtMs === null
        ? ''
        : ` The drain deadline ends those that leave at ${new Date(deadlineAtMs).toISOString()} at the latest.`;
    blockedBy.push({ code, detail: `${detail}${until}` });
    if (replacementFacts.spared.size > 0) looksAtMs.push(nextHearingLookMs(facts));
  }
  const isReplacing = replacement !== null && plan.drainIds.length < replacement.progress.outdated;
  const tooMany = available - plan.drainIds.length - target;
  if (tooMany > 0 && !isReplacing)
    scaleDown(facts, { fleet, counts, limitedBy: wanted.limitedBy, tooMany, plan, looksAtMs });
  return done();
}

/** What is over goes, whatever there should be; and nothing else happens. */
function planOfUnknownPolicy(
  { last }: HealthFacts,
  { fleet, counts, blockedBy }: { fleet: SortedFleet; counts: FleetCounts; blockedBy: HealthBlock[] },
): HealthPlan {
  return {
    ...nothing,
    released: fleet.released,
    expired: fleet.expired,
    drained: fleet.drained,
    rollout: null,
    desired: null,
    available: fleet.capacity.length + fleet.leaving.length,
    counts,
    formula: '',
    remembered: [...(last?.remembered ?? [])],
    notes: [],
    blockedBy,
    backsOff: false,
    nextLookAtMs: earliest(fleet.looksAtMs),
  };
}

/** How many rooms the fleet stands at, for whom a rollout's surge is none of its size: else the surge would grow by itself. */
function withoutSurge(
  { scheduler, replacedVersions, last }: HealthFacts,
  { fleet, available }: { fleet: SortedFleet; available: number },
): number {
  const isRollout = fleet.leaving.length > 0 || fleet.capacity.some(({ version }) => replacedVersions.has(version));
  if (!isRollout) return available;
  if (last !== null && last.desired !== null) return Math.min(available, last.desired);
  // Nobody remembers: the least of which this may be all with its surge.
  let before = Math.max(0, available - surgeRooms(scheduler.maxSurge, available));
  while (before + surgeRooms(scheduler.maxSurge, before) < available) before += 1;
  return before;
}

/**
 * What the policy sees. A room whose status hides that it is used is in use: it came from a room with a match, and may be one again,
 * or some of its slots were given out, which changes no status where a room has several. Each of those is to have a match.
 */
function countDemand(supply: readonly Room[]): FleetCounts {
  const counts = countFleet(supply);
  for (const { status, allocations, ...room } of supply) {
    // Of an allocated room v10's rules know that it is to have one.
    if (status !== 'allocated') counts.runningMatches += allocations.length;
    if (status === 'ready' && allocations.length > 0) {
      counts.rooms.ready -= 1;
      counts.rooms.active += 1;
    } else if ((status === 'pending' || status === 'unready') && hasMatch({ status, allocations, ...room })) {
      counts.rooms[status] -= 1;
      counts.rooms.occupied += 1;
    }
  }
  return counts;
}

function deadlineOf(leaving: readonly Room[], { drainDeadlineMs }: RoomLimits): number | null {
  if (drainDeadlineMs === null || leaving.length === 0) return null;
  return leaving.reduce((latest, { drainingSinceMs }) => Math.max(latest, drainingSinceMs ?? 0), 0) + drainDeadlineMs;
}

/** Rooms of which nothing is decided now: they may have matches that we did not hear of, or have just changed their mind. */
function sparedOf({ massSilence, released }: SortedFleet): ReadonlySet<string> {
  const silent = massSilence === null ? [] : [...massSilence.rooms];
  return new Set([...silent, ...released].map(({ id }) => id));
}

/** Brings the fleet nearer to `target`. Whether starts are held. */
function addRooms(
  facts: HealthFacts,
  {
    fleet,
    target,
    attempted,
    plan,
    looksAtMs,
  }: { fleet: SortedFleet; target: number; attempted: number; plan: HealthPlan; looksAtMs: number[] },
): boolean {
  const { addLimit, scheduler, replacedVersions } = facts;
  const lacking = target - (plan.available ?? 0);
  // What was claimed and is still there is quicker, and cheaper, than a new room; one that is up most of all.
  const kept = fleet.claimed
    .filter(({ version, status }) => !replacedVersions.has(version) && status !== 'error')
    .sort((one, other) => Number(isUp(other)) - Number(isUp(one)))
    .slice(0, lacking)
    .map(({ id }) => id);
  plan.released = [...plan.released, ...kept.map((id) => ({ id, reason: 'scale_down' as const }))];
  const isKept = new Set(kept);
  plan.drained = plan.drained.filter(({ id }) => !isKept.has(id));

  const missing = lacking - kept.length;
  const failing = fleet.failed.filter((room) => room.version === scheduler.version && hasFailedEarly(room));
  const { amount, heldUntilMs, because } = judgeStarts(facts, { attempted, missing, failing });
  plan.add = Math.min(amount, addLimit);
  if (plan.add < amount) {
    const detail = `${amount} rooms are missing, and at most ${addLimit} ${addLimit === 1 ? 'is' : 'are'} added at once.`;
    plan.blockedBy.push({ code: 'limit', detail });
  }
  if (heldUntilMs === null) return false;
  plan.blockedBy.push({ code: lacksHostPort(facts.earlyEnds.lastReason) ? 'ports' : 'breaker', detail: because });
  plan.startsHeldUntilMs = heldUntilMs;
  plan.backsOff = true;
  looksAtMs.push(heldUntilMs);
  return true;
}

/** Drains what a rollout drains now. Who was sent to such a room just before must have arrived when it is looked at again. */
function drainOutdated(
  facts: HealthFacts,
  replacement: ReplacementPlan | null,
  { plan, looksAtMs }: { plan: HealthPlan; looksAtMs: number[] },
): void {
  const { removeLimit } = facts;
  const drainIds = replacement?.drainIds ?? [];
  if (drainIds.length === 0) return;
  plan.drainIds = drainIds.slice(0, removeLimit);
  looksAtMs.push(nextHearingLookMs(facts));
  if (drainIds.length <= removeLimit) return;
  const detail = `${drainIds.length} rooms of older versions may go, and at most ${removeLimit} ${removeLimit === 1 ? 'is' : 'are'} drained at once.`;
  plan.blockedBy.push({ code: 'limit', detail });
}

/** Claims rooms that are too many, as far as the policy's gates and the rooms themselves allow. */
function scaleDown(
  facts: HealthFacts,
  {
    fleet,
    counts,
    limitedBy,
    tooMany,
    plan,
    looksAtMs,
  }: {
    fleet: SortedFleet;
    counts: FleetCounts;
    limitedBy: DesiredRooms['limitedBy'];
    tooMany: number;
    plan: HealthPlan;
    looksAtMs: number[];
  },
): void {
  const { scheduler, limits, nowMs, removeLimit } = facts;
  const { blockedBy } = plan;
  const cooldownMs = cooldownEndsAtMs(scheduler, facts.lastDownscaleAtMs);
  const isCoolingDown = cooldownMs !== null && cooldownMs > nowMs;
  if (isCoolingDown) {
    const detail = `The next scale-down may happen at ${new Date(cooldownMs).toISOString()}, ${scheduler.autoscaling?.cooldown} s after the last.`;
    blockedBy.push({ code: 'cooldown', detail });
    looksAtMs.push(cooldownMs);
  }
  const downscale = canDownscale(scheduler, counts, facts);
  // A policy that wants more than max allows never finds too many, and max would not hold.
  const isAllowed = downscale.allowed || limitedBy === 'max';
  if (!isAllowed) blockedBy.push({ code: 'threshold', detail: `${downscale.formula}.` });
  if (isCoolingDown || !isAllowed) return;

  // Capacity only: removing what does not count would not bring the count down. Nor what changed its mind just now.
  const settled = new Set([...plan.released.map(({ id }) => id), ...plan.drainIds]);
  const unsettled = fleet.capacity.filter((room) => !settled.has(room.id));
  const candidates = unsettled.filter((room) => !fleet.massSilence?.rooms.has(room));
  const amount = Math.min(tooMany, removeLimit);
  const removable = chooseRemovals(candidates, {
    ...facts,
    ...limits,
    amount: candidates.length,
    version: scheduler.version,
  });
  const { claimIds, keptForBuffer, free, keptFree } = keepFreeSlots(removable, {
    facts,
    fleet,
    candidates,
    plan,
    amount,
  });
  plan.claimIds = claimIds;
  if (claimIds.length > 0) looksAtMs.push(nextHearingLookMs(facts));
  if (claimIds.length < amount && keptForBuffer > 0) {
    const begin = `${counted(tooMany, 'room')} ${tooMany === 1 ? 'is' : 'are'} too many, but only ${claimIds.length} may be removed now`;
    const detail = `${begin}: then ${counted(free, 'slot')} ${free === 1 ? 'is' : 'are'} free, and ${keptFree} are to be; others have to be up, or heard, first.`;
    blockedBy.push({ code: 'ready_buffer', detail });
    looksAtMs.push(nextHearingLookMs(facts));
  } else if (claimIds.length < amount) {
    const unheard = unsettled.filter((room) => !hasMatch(room)).length - plan.claimIds.length;
    const withMatch = [...fleet.capacity, ...fleet.leaving].filter(hasMatch).length;
    const detail = describeOthers({ tooMany, claimed: plan.claimIds.length, withMatch, unheard });
    blockedBy.push({ code: 'no_removable_room', detail });
    if (unheard > 0) looksAtMs.push(nextHearingLookMs(facts));
  } else if (amount < tooMany) {
    const detail = `${tooMany} rooms are too many, and at most ${removeLimit} ${removeLimit === 1 ? 'is' : 'are'} removed at once.`;
    blockedBy.push({ code: 'limit', detail });
  }
}

/**
 * The first of the removable rooms, without those whose free slots are wanted: what is wanted may stand, but not be up, or not be
 * heard, and who is ready is what players are sent to meanwhile.
 */
function keepFreeSlots(
  removable: readonly string[],
  {
    facts,
    fleet,
    candidates,
    plan,
    amount,
  }: { facts: HealthFacts; fleet: SortedFleet; candidates: readonly Room[]; plan: HealthPlan; amount: number },
): { claimIds: string[]; keptForBuffer: number; free: number; keptFree: number } {
  const { maxMatches } = facts.scheduler.matchAllocation;
  const slotsOf = new Map(candidates.map((room) => [room.id, freeSlots(room, maxMatches)]));
  const used = [...fleet.capacity, ...fleet.leaving].reduce((sum, room) => sum + usedSlots(room, maxMatches), 0);
  const keptFree = Math.max(0, (plan.desired ?? 0) * maxMatches - used);
  let free = [...slotsOf.values()].reduce((sum, slots) => sum + slots, 0);
  let keptForBuffer = 0;
  const claimIds: string[] = [];
  for (const id of removable) {
    if (claimIds.length >= amount) break;
    const slots = slotsOf.get(id) ?? 0;
    if (slots > 0 && free - slots < keptFree) {
      keptForBuffer += 1;
      continue;
    }
    free -= slots;
    claimIds.push(id);
  }
  return { claimIds, keptForBuffer, free, keptFree };
}

/** Why fewer rooms are claimed than are too many, with the numbers. */
function describeOthers({
  tooMany,
  claimed,
  withMatch,
  unheard,
}: Record<'tooMany' | 'claimed' | 'withMatch' | 'unheard', number>): string {
  const others = [
    ...(withMatch > 0 ? [`${withMatch} ${withMatch === 1 ? 'has' : 'have'} a match`] : []),
    ...(unheard > 0
      ? [`${unheard} may have one that is not known, and ${unheard === 1 ? 'has' : 'have'} to be heard first`]
      : []),
  ];
  const begin = `${counted(tooMany, 'room')} ${tooMany === 1 ? 'is' : 'are'} too many, but only ${claimed} may be removed`;
  return others.length === 0 ? `${begin}.` : `${begin}; of the others, ${others.join('; ')}.`;
}

function silenceBlocks({ massSilence }: SortedFleet): HealthBlock[] {
  if (massSilence === null || massSilence.held === 0) return [];
  const detail = `${massSilence.rooms.size} of ${massSilence.pinging} rooms fell silent together, ${massSilence.held} of them beyond the ping timeout; none of these expires.`;
  return [{ code: 'mass_silence', detail }];
}

/**
 * How many of the missing rooms may start now, and until when the others wait.
 *
 * Once more rooms ended early than accidents explain, each round waits longer than the one before, and a failed room keeps its
 * place until it is removed: its runtime goes on trying to start it (kubelet pulls and restarts with pauses of its own), and
 * where it stands it holds what it requested of its machine. Without that, a fleet whose image cannot be pulled would fill the
 * cluster with rooms that wait for it. Neither keeps a room that had its place from being replaced, once.
 */
function judgeStarts(
  { rooms, earlyEnds, nowMs, limits }: HealthFacts,
  { attempted, missing, failing }: { attempted: number; missing: number; failing: readonly Room[] },
): { amount: number; heldUntilMs: number | null; because: string } {
  const startAtMs = nextStartAtMs(earlyEnds, attempted);
  if (startAtMs === null) return { amount: missing, heldUntilMs: null, because: '' };
  const ended = describeEarlyEnds(earlyEnds);
  const createdAtMs = rooms.filter(({ validation }) => !validation).map((room) => room.createdAtMs);
  const owed = Math.min(missing, replacementsOwed(earlyEnds, createdAtMs));
  if (startAtMs > nowMs) {
    if (owed === missing) return { amount: owed, heldUntilMs: null, because: '' };
    const because = `Starts wait: ${ended}; the next may start at ${new Date(startAtMs).toISOString()}.`;
    return { amount: owed, heldUntilMs: startAtMs, because };
  }
  const amount = Math.max(owed, missing - failing.length);
  const removedAtMs = earliest(failing.map((room) => errorDeadlineMs(room, limits) + 1));
  if (amount === missing || removedAtMs === null) return { amount, heldUntilMs: null, because: '' };
  const keep = failing.length === 1 ? 'keeps its place until it is' : 'keep their places until they are';
  const because = `Starts wait: ${ended}; ${counted(failing.length, 'failed room')} ${keep} removed, the first one at ${new Date(removedAtMs).toISOString()}.`;
  return { amount, heldUntilMs: removedAtMs, because };
}

/** One with a match is not ours to remove, and one that was up has shown that it can be. */
function hasFailedEarly(room: Room): boolean {
  const wasUp = room.lastPingAtMs !== null && room.statusSinceMs - room.createdAtMs > earlyEndAgeMs;
  return !wasUp && !hasMatch(room);
}

/** Whether there is nothing to carry out. A plan may be empty because something blocks it. */
export function isEmptyPlan(plan: HealthPlan): boolean {
  const { add, rollback, claimIds, drainIds, released, expired, drained } = plan;
  return (
    add === 0 &&
    rollback === null &&
    [claimIds, drainIds, released, expired, drained].every(({ length }) => length === 0)
  );
}
