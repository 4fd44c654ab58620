import { hasMatch, type Room } from './room';

/** An instance as its runtime was told to treat it. */
export interface InstanceProtection {
  id: string;
  /** Whether it may not be moved; null when that is not known, as after a call whose answer was lost. */
  isProtected: boolean | null;
}

export interface ProtectionFacts {
  instances: readonly InstanceProtection[];
  /** What is known of their rooms, by id. */
  rooms: ReadonlyMap<string, Room>;
  /** Instances of the same scheduler besides these that are protected, or soon will be. */
  protectedElsewhere: number;
  /** The room state is not complete: what it does not say means nothing. */
  rebuilding: boolean;
  /** The store's clock. */
  nowMs: number;
  /** So long after it was found again, a room may have players on their way of whom nobody knows. Milliseconds. */
  adoptionHoldMs: number;
}

/** What the runtime is to be told, in this order: raise the budget, protect, release, lower the budget. */
export interface ProtectionPlan {
  protect: string[];
  release: string[];
  /**
   * Instances that may have players on their way for so long, and no longer, unless more is heard of them: nobody says then that
   * the time is over. Milliseconds.
   */
  held: { id: string; forMs: number }[];
  /**
   * How many protected instances must stay up: `during` before the first is protected, `after` once the last was released. A
   * budget below the number of protected instances lets one of them go, and says not which.
   */
  budget: { during: number; after: number };
}

/**
 * Which instances may not be moved: those whose rooms have a match. In doubt it stays as it is: a room of which nothing is
 * known, one that goes anyway, and one that was found running and has not said whether it has a match.
 */
export function protectMatches(facts: ProtectionFacts): ProtectionPlan {
  const protect: string[] = [];
  const release: string[] = [];
  const held: ProtectionPlan['held'] = [];
  let during = facts.protectedElsewhere;
  for (const { id, isProtected } of facts.instances) {
    const room = facts.rooms.get(id);
    const wanted = wantedProtection(room, facts);
    const forMs = room === undefined ? 0 : holdLeftMs(room, facts);
    if (wanted === 'as_it_is' && isProtected !== false && forMs > 0) held.push({ id, forMs });
    if (wanted === 'protected' && isProtected !== true) protect.push(id);
    if (wanted === 'released' && isProtected !== false) release.push(id);
    if (isProtected !== false || wanted === 'protected') during += 1;
  }
  return { protect, release, held, budget: { during, after: during - release.length } };
}

function wantedProtection(room: Room | undefined, facts: ProtectionFacts): 'protected' | 'released' | 'as_it_is' {
  if (room === undefined || room.instance.status === 'terminating') return 'as_it_is';
  // No player is ever sent there, whatever it calls a match.
  if (room.validation) return 'released';
  if (hasMatch(room)) return 'protected';
  if (facts.rebuilding) return 'as_it_is';
  const isUnheard = room.adoptedAtMs !== null && room.lastPingAtMs === null;
  return isUnheard || holdLeftMs(room, facts) > 0 ? 'as_it_is' : 'released';
}

/** For how long nobody knows whether a caller was given the room before it was found again; 0 when that is over, or never was. */
function holdLeftMs({ adoptedAtMs }: Room, { nowMs, adoptionHoldMs }: ProtectionFacts): number {
  return adoptedAtMs === null ? 0 : Math.max(0, adoptedAtMs + adoptionHoldMs - nowMs);
}
