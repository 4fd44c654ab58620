import { canDownscale, cooldownEndsAtMs } from '../autoscaling/can-downscale';
import type { DesiredRooms } from '../autoscaling/desired-rooms';
import { counted } from '../phrases';
import { chooseRemovals } from './choose-removals';
import { freeSlots, usedSlots } from './free-slots';
import type { HealthFacts, HealthPlan } from './health-plan';
import { hasMatch, type FleetCounts, type Room } from './room';
import { nextHearingLookMs, type SortedFleet } from './sort-fleet';

/** Claims rooms that are too many, as far as the policy's gates and the rooms themselves allow. */
export function scaleDown(
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
