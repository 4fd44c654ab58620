import { counted } from '../phrases';
import { freeSlots, usedSlots } from '../room/free-slots';
import { hasMatch, isUp, type Room } from '../room/room';
import { surgeRooms } from './surge-rooms';

export interface ReplacementFacts {
  /** Rooms that count as capacity, used or not: none that drains, fails or goes. */
  capacity: readonly Room[];
  /** Rooms that drain because their version was replaced, and have a match: in use until it ends. */
  leaving: readonly Room[];
  /** Versions whose rooms are to be replaced: those that differ from the active one in what a room is started with. */
  replacedVersions: ReadonlySet<string>;
  /** Ids of rooms that are not drained now, whatever their version: what they hold is not known, or they changed just now. */
  spared: ReadonlySet<string>;
  /** How many rooms there should be without the rollout. */
  base: number;
  /** Slots of a room. */
  maxMatches: number;
  /** `"5"` or `"25%"`. */
  maxSurge: string;
  /** No room can be started now: what is up already makes others go, though the surge is not all there. */
  startsAreHeld: boolean;
}

export interface ReplacementPlan {
  /** How many rooms may stand while it runs, those included that drain with a match. */
  upper: number;
  /** How many of them are to stand now: `upper` while there are rooms to be replaced; then only as many as those that leave make needed. */
  target: number;
  /** Rooms of the active version to make. Never together with `drainIds`. */
  add: number;
  /** Older rooms that are to get no new players, first to go first. */
  drainIds: string[];
  progress: RolloutProgress;
  /** Why it is not going on now; null when it is. */
  waitsFor: { code: 'surge' | 'ready_buffer' | 'matches'; detail: string } | null;
}

/** Where a rollout stands: rooms, validation rooms apart. */
export interface RolloutProgress {
  /** Of older versions, and not draining yet. */
  outdated: number;
  /** Of older versions, draining, with a match. */
  leaving: number;
  /** Of versions that stay (the active one, and those that differ from it in minor fields), and up. */
  updated: number;
  /** Of versions that stay, on their way up. */
  starting: number;
}

/** Who is missed least goes first: what is not up, then what is empty, then what has the fewest matches, then the oldest. */
function byLeastMissed(one: Room, other: Room): number {
  const rank = (room: Room): number => (hasMatch(room) ? 2 : isUp(room) ? 1 : 0);
  return (
    rank(one) - rank(other) ||
    one.runningMatches + one.allocations.length - (other.runningMatches + other.allocations.length) ||
    one.createdAtMs - other.createdAtMs ||
    (one.id < other.id ? -1 : 1)
  );
}

/**
 * One cycle of a rollout: while rooms of replaced versions are there, up to `base` and the surge are made; once as many are
 * there, those beyond `base` drain. Null when no room of a replaced version is left.
 *
 * Promises: `add` never brings the fleet above `base` + surge; a new room counts against an old one only when it is up; the
 * slots that are free never fall below what `base` keeps free because of a drain, nor can they later, because rooms leave whose
 * free slots nobody can use; no room of the active version is touched.
 * With v10's rows (`rooms.md` 10.3-10.5), but for these: the surge may exceed the autoscaling's max, because at max, and
 * without one (-1), v10's rollout stands still (W9); the threshold and the cooldown of a scale-down do not hold a
 * replacement back (W9); rooms with a match are drained, not deleted (W12), and rooms of the active version never go in their
 * place (W10); no surge is made where every older room can go already (v10 makes one, to take it down in the next cycle).
 */
export function planReplacement(facts: ReplacementFacts): ReplacementPlan | null {
  const { capacity, leaving, replacedVersions, base } = facts;
  const outdated = capacity.filter(({ version }) => replacedVersions.has(version));
  if (outdated.length + leaving.length === 0) return null;

  const surge = surgeRooms(facts.maxSurge, base);
  const upper = base + surge;
  const updated = capacity.filter((room) => !replacedVersions.has(room.version) && isUp(room)).length;
  const starting = capacity.length - outdated.length - updated;
  const progress = { outdated: outdated.length, leaving: leaving.length, updated, starting };
  const standing = capacity.length + leaving.length;
  if (outdated.length === 0) {
    // No slot of theirs is free again when their matches end, so what takes their place is there before.
    const target = Math.min(upper, base + leaving.length);
    const detail = `${counted(leaving.length, 'room')} of older versions ${leaving.length === 1 ? 'drains, and goes when its match ends' : 'drain, and go when their matches end'}.`;
    const waitsFor = { code: 'matches' as const, detail };
    return { upper, target, add: Math.max(0, target - standing), drainIds: [], progress, waitsFor };
  }

  const drains = chooseDrains(facts, { outdated, starting, upper });
  const plan = { upper, target: upper, add: 0, drainIds: drains.ids, progress };
  if (standing < upper) {
    if (drains.ids.length < outdated.length && !facts.startsAreHeld) {
      return { ...plan, add: upper - standing, drainIds: [], waitsFor: null };
    }
    plan.target = standing;
  }
  return { ...plan, waitsFor: drains.ids.length > 0 ? null : waitOf(progress, { ...drains, surge }) };
}

interface DrainChoice {
  ids: string[];
  /** Slots that are free after that, and are to be. */
  free: number;
  keptFree: number;
  /** Why others stay. */
  keptForBuffer: number;
  keptForLeaving: number;
}

/**
 * Which older rooms may go now. What limits them, besides `base`: the slots that are free now, and those that are there later.
 * A room that leaves gives no slot to anybody, not when its match ends either, and a new room takes its time to start: so no more
 * rooms leave at a time than the surge stands in for. And at worst one match stays in each, and the others move to where they take
 * free slots; a new room can be made only when the fleet stands below `upper`. What may not then fall below `base` is the sum of
 * the rooms that stay and of that one match each.
 */
function chooseDrains(
  { capacity, leaving, spared, base, maxMatches }: ReplacementFacts,
  { outdated, starting, upper }: { outdated: readonly Room[]; starting: number; upper: number },
): DrainChoice {
  let standing = capacity.length + leaving.length;
  let staying = capacity.length - starting;
  let gone = leaving.length;
  const upAtFirst = standing - starting;
  const spare = upAtFirst - base;
  const used = [...capacity, ...leaving].reduce((sum, room) => sum + usedSlots(room, maxMatches), 0);
  const keptFree = Math.max(0, base * maxMatches - used);
  const choice: DrainChoice = {
    ids: [],
    free: capacity.reduce((sum, room) => sum + freeSlots(room, maxMatches), 0),
    keptFree,
    keptForBuffer: 0,
    keptForLeaving: 0,
  };
  for (const room of [...outdated].sort(byLeastMissed)) {
    if (choice.ids.length >= spare) break;
    if (spared.has(room.id)) continue;
    const slots = freeSlots(room, maxMatches);
    if (slots > 0 && choice.free - slots < keptFree) {
      choice.keptForBuffer += 1;
      continue;
    }
    const leaves = hasMatch(room) ? 1 : 0;
    if (leaves > 0 && gone + leaves > Math.max(upper, upAtFirst) - base) {
      choice.keptForLeaving += 1;
      continue;
    }
    const fewestSlots =
      (staying - 1) * maxMatches + Math.max(0, gone + leaves - Math.max(0, standing - 1 + leaves - upper));
    if (fewestSlots < base * maxMatches) {
      choice.keptForLeaving += 1;
      continue;
    }
    staying -= 1;
    gone += leaves;
    standing -= 1 - leaves;
    choice.free -= slots;
    choice.ids.push(room.id);
  }
  return choice;
}

function waitOf(
  { outdated, leaving, starting }: RolloutProgress,
  { keptForBuffer, keptForLeaving, free, keptFree, surge }: DrainChoice & { surge: number },
): NonNullable<ReplacementPlan['waitsFor']> {
  const older = `${counted(outdated, 'room')} of older versions`;
  const stay = outdated === 1 ? 'stays' : 'stay';
  if (keptForBuffer > 0) {
    const detail = `${counted(free, 'slot')} ${free === 1 ? 'is' : 'are'} free and ${keptFree} are to be; ${older} ${stay} until more slots are.`;
    return { code: 'ready_buffer', detail };
  }
  if (keptForLeaving > 0) {
    const drain = leaving === 1 ? '1 that drains has a match' : `${leaving} that drain have matches`;
    const detail = `${drain}, and the surge of ${surge} stands in for no more; ${older} ${stay} until some of their matches have ended.`;
    return { code: 'matches', detail };
  }
  if (starting > 0 || leaving > 0) {
    const because =
      starting > 0
        ? `${counted(starting, 'room')} ${starting === 1 ? 'is' : 'are'} starting`
        : `${leaving} that ${leaving === 1 ? 'drains has a match' : 'drain have matches'}`;
    return { code: 'surge', detail: `The surge of ${surge} is used up: ${because}.` };
  }
  return { code: 'matches', detail: `${older} ${stay} until it is known whether they have matches.` };
}
