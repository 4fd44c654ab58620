import { desiredRooms, type DesiredRooms } from '../autoscaling/desired-rooms';
import { stabilisationOf, stabilise } from '../autoscaling/stabilise';
import { earliest } from '../earliest';
import { DomainError } from '../errors';
import { judgeRollout } from '../rollout/judge-rollout';
import { planReplacement, type ReplacementPlan } from '../rollout/plan-replacement';
import { surgeRooms } from '../rollout/surge-rooms';
import type { RoomLimits } from './classify-room';
import { countFleet } from './count-fleet';
import { lacksHostPort } from './failure-reason';
import type { HealthBlock, HealthFacts, HealthPlan } from './health-plan';
import { hasFailedEarly, judgeStarts } from './judge-starts';
import { hasMatch, isUp, type FleetCounts, type Room } from './room';
import { scaleDown } from './scale-down';
import { nextHearingLookMs, sortFleet, type SortedFleet } from './sort-fleet';
import { nextStartAtMs } from './start-back-off';

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

function silenceBlocks({ massSilence }: SortedFleet): HealthBlock[] {
  if (massSilence === null || massSilence.held === 0) return [];
  const detail = `${massSilence.rooms.size} of ${massSilence.pinging} rooms fell silent together, ${massSilence.held} of them beyond the ping timeout; none of these expires.`;
  return [{ code: 'mass_silence', detail }];
}
