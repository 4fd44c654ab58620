import type { FleetCounts } from '../room/room';
import { applyPolicy, policyOf } from './apply-policy';
import type { FleetSettings } from './fleet-settings';
import type { PolicyFacts } from './policy-facts';

export type { FleetSettings } from './fleet-settings';

export interface DesiredRooms {
  desired: number;
  /** Which bound of the autoscaling kept the number from being what the policy says; null when none did. */
  limitedBy: 'min' | 'max' | null;
  /** How the number came about, for "explain": `fixedBuffer: 80 in use + 50 = 130, at most 100 (max)`. */
  formula: string;
  /** When the answer may be another although nothing else changes, because a window opens or ends; null when no time is known. */
  nextChangeAtMs: number | null;
  /** Sentences: what someone may want to look at, though there is a number. */
  notes: string[];
}

/**
 * How many rooms a scheduler should have: its replicas, or what its policy says, kept within min and max (a negative max is
 * no limit). Where a policy says nothing (no window is open, no webhook answered), the replicas hold, within min and max too.
 * Source: `rooms.md` 7.4-7.6; `schedule`, `webhook` and `chain` are our own.
 *
 * @throws DomainError `autoscaling.policy_invalid` for a policy that validation would have refused, and
 *   `autoscaling.facts_missing` for a policy that goes by facts which were not given.
 */
export function desiredRooms(settings: FleetSettings, counts: FleetCounts, facts?: PolicyFacts): DesiredRooms {
  const { autoscaling, roomsReplicas } = settings;
  const replicas = `roomsReplicas = ${roomsReplicas}`;
  const policy = policyOf(settings);
  if (!autoscaling || !policy) {
    return { desired: roomsReplicas, limitedBy: null, formula: replicas, nextChangeAtMs: null, notes: [] };
  }

  const verdict = applyPolicy(policy, { settings, counts, facts });
  const { nextChangeAtMs, notes } = verdict;
  const rooms = verdict.applies ? verdict.rooms : roomsReplicas;
  const formula = verdict.applies ? verdict.formula : `${verdict.formula}; ${replicas}`;
  const rest = { nextChangeAtMs, notes };
  const { min, max } = autoscaling;
  if (rooms < min) return { desired: min, limitedBy: 'min', formula: `${formula}, at least ${min} (min)`, ...rest };
  if (max >= 0 && rooms > max) {
    return { desired: max, limitedBy: 'max', formula: `${formula}, at most ${max} (max)`, ...rest };
  }
  return { desired: rooms, limitedBy: null, formula, ...rest };
}
