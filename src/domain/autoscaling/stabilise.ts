import type { FleetSettings } from './fleet-settings';

/** How long a change of the recommendation has to last before it is followed, and within which limits that holds. */
export interface Stabilisation {
  /** Seconds; 0: a larger recommendation is followed at once. */
  scaleUpSeconds: number;
  /** Seconds; 0: a smaller recommendation is followed at once. */
  scaleDownSeconds: number;
  min: number;
  /** Negative: no limit. */
  max: number;
}

/** What was recommended in a stretch of time, remembered as one. */
export interface Recommendation {
  /** When the last of it was recommended. */
  atMs: number;
  min: number;
  max: number;
}

export interface StabilisationFacts {
  nowMs: number;
  /** What the replicas or the policy say now (`desiredRooms`). */
  recommended: number;
  /** Rooms that count as capacity. */
  available: number;
  /**
   * What the last look came to; null when it is not known. With `available` it makes the number that the fleet stands at: the
   * larger one, because a room that died meanwhile is to be replaced, and a room that could not be removed is there.
   */
  lastDesired: number | null;
  /** What the last look answered as `remembered`, or nothing. */
  remembered: readonly Recommendation[];
}

export interface StabilisedRooms {
  desired: number;
  /** Null when the recommendation is followed. */
  heldBack: {
    /** What does not happen. */
    direction: 'up' | 'down';
    /** When the recommendation is followed in full, if it stays as it is. */
    untilMs: number;
    /** When `desired` may come nearer to it: another look is due. */
    nextChangeAtMs: number;
    /** A sentence with the numbers. */
    detail: string;
  } | null;
  /** What the next look has to be given; oldest first, never more than `mostRemembered`. */
  remembered: Recommendation[];
}

/** Recommendations are remembered in so many stretches of time, at most; each is forgotten up to a stretch too late, never early. */
export const mostRemembered = 64;

/** The stabilisation that a scheduler states. Without autoscaling there is none: its replicas are what an operator said. */
export function stabilisationOf({ autoscaling, extensions }: FleetSettings): Stabilisation {
  if (!autoscaling?.enabled) return { scaleUpSeconds: 0, scaleDownSeconds: 0, min: 0, max: -1 };
  const { scaleUpStabilizationSeconds = 0, scaleDownStabilizationSeconds = 0 } = extensions?.autoscaling ?? {};
  return {
    scaleUpSeconds: scaleUpStabilizationSeconds,
    scaleDownSeconds: scaleDownStabilizationSeconds,
    min: autoscaling.min,
    max: autoscaling.max,
  };
}

/**
 * Follows a recommendation once it has lasted, as Kubernetes' HorizontalPodAutoscaler does (`stabilizationWindowSeconds`): the fleet
 * grows no further than to the least that was recommended within `scaleUpSeconds`, and shrinks no further than to the most that
 * was within `scaleDownSeconds`; between the two it stays as it is. Windows of 0 follow at once.
 *
 * The first time, when nothing is remembered, the fleet as it stands counts as what was recommended until now (so does the HPA): a
 * store that lost its memory empties no fleet. A fleet that has no room then is a new one, and follows at once. Min and max are never
 * waited for when they change.
 */
export function stabilise(stabilisation: Stabilisation, facts: StabilisationFacts): StabilisedRooms {
  const { scaleUpSeconds, scaleDownSeconds } = stabilisation;
  const { nowMs, available, lastDesired } = facts;
  const recommended = within(stabilisation, facts.recommended);
  const windowMs = Math.max(scaleUpSeconds, scaleDownSeconds) * 1000;
  if (windowMs === 0) return { desired: recommended, heldBack: null, remembered: [] };

  const current = Math.max(available, lastDesired ?? 0);
  // A fleet without a room, of which nothing is known, is a new one: there is no size that it has got used to.
  const isNew = current === 0 && facts.remembered.length === 0;
  const stands = isNew ? recommended : current;
  const earlier = facts.remembered.length > 0 ? facts.remembered : [{ atMs: nowMs, min: stands, max: stands }];
  // A clock that was ahead must not make memories that last for ever.
  const past = earlier.map((entry) => ({ ...entry, atMs: Math.min(entry.atMs, nowMs) }));
  const goneUp = past.filter(({ atMs }) => atMs > nowMs - scaleUpSeconds * 1000);
  const goneDown = past.filter(({ atMs }) => atMs > nowMs - scaleDownSeconds * 1000);
  const least = goneUp.reduce((value, { min }) => Math.min(value, min), recommended);
  const most = goneDown.reduce((value, { max }) => Math.max(value, max), recommended);
  const desired = within(stabilisation, Math.min(Math.max(stands, least), most));

  const remembered = remember([...past, { atMs: nowMs, min: recommended, max: recommended }], nowMs, windowMs);
  if (desired === recommended) return { desired, heldBack: null, remembered };

  const isUp = desired < recommended;
  const seconds = isUp ? scaleUpSeconds : scaleDownSeconds;
  const endOf = (entries: Recommendation[]) => Math.max(...entries.map(({ atMs }) => atMs)) + seconds * 1000;
  const holding = isUp
    ? goneUp.filter(({ min }) => min < recommended)
    : goneDown.filter(({ max }) => max > recommended);
  const holdingHere = holding.filter(({ min, max }) => (isUp ? min <= desired : max >= desired));
  const untilMs = endOf(holding);
  return {
    desired,
    heldBack: {
      direction: isUp ? 'up' : 'down',
      untilMs,
      nextChangeAtMs: endOf(holdingHere),
      detail:
        `${recommended} rooms are wanted, but ` +
        `${isUp ? `as few as ${least}` : `as many as ${most}`} were within the last ${seconds} s ` +
        `(${isUp ? 'scaleUpStabilizationSeconds' : 'scaleDownStabilizationSeconds'}); ` +
        `it stays at ${desired}, or comes nearer, until ${new Date(untilMs).toISOString()}.`,
    },
    remembered,
  };
}

function within({ min, max }: Stabilisation, rooms: number): number {
  if (rooms < min) return min;
  return max >= 0 && rooms > max ? max : rooms;
}

/** Joins what was recommended in the same stretch of time, and forgets what is older than the window. */
function remember(entries: readonly Recommendation[], nowMs: number, windowMs: number): Recommendation[] {
  // The window touches one stretch more than it is long, at either end.
  const stretchMs = Math.ceil(windowMs / (mostRemembered - 2));
  const stretches = new Map<number, Recommendation>();
  for (const { atMs, min, max } of entries) {
    if (atMs <= nowMs - windowMs) continue;
    const stretch = Math.floor(atMs / stretchMs);
    const known = stretches.get(stretch);
    stretches.set(stretch, {
      atMs: Math.max(atMs, known?.atMs ?? atMs),
      min: Math.min(min, known?.min ?? min),
      max: Math.max(max, known?.max ?? max),
    });
  }
  return [...stretches.values()].sort((a, b) => a.atMs - b.atMs);
}
