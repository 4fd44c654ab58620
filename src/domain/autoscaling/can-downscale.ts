import { ceilDivide } from '../exact-decimal';
import type { FleetCounts } from '../room/room';
import type { FleetSettings } from './desired-rooms';
import { exactShare, policyParameters, roomsByOccupancy, roomsInUse } from './rooms-by-policy';

export interface DownscaleDecision {
  allowed: boolean;
  /** The comparison that decided, for "explain". */
  formula: string;
}

/**
 * Whether a fleet that has more rooms than desired may shrink. Without autoscaling it always may.
 *
 * roomOccupancy: the free slots that the target wants, measured against those there are, must be at most `downThreshold`:
 * ceil(desired rooms x maxMatches x readyTarget) / free slots. Desired is the policy's own number, before min and max (v10).
 * A fleet without free slots never may: v10 also refuses at zero, but allows it below (more matches than slots), because a
 * negative share is below any threshold.
 *
 * fixedBuffer: there must be more rooms than those in use and the buffer. Rooms that are going or failed are not counted.
 *
 * @throws DomainError `autoscaling.policy_invalid` for a policy that validation would have refused.
 */
export function canDownscale(settings: FleetSettings, counts: FleetCounts): DownscaleDecision {
  const { autoscaling, matchAllocation } = settings;
  if (!autoscaling?.enabled) return { allowed: true, formula: 'without autoscaling' };
  const policy = policyParameters(autoscaling.policy);

  if (policy.type === 'fixedBuffer') {
    const { pending, unready, ready, occupied, active, allocated } = counts.rooms;
    const total = pending + unready + ready + occupied + active + allocated;
    const needed = roomsInUse(counts) + policy.parameters.amount;
    const allowed = total > needed;
    return { allowed, formula: `fixedBuffer: ${total} rooms ${allowed ? '>' : '<='} ${needed} needed` };
  }

  const { readyTarget, downThreshold } = policy.parameters;
  const target = exactShare('readyTarget', readyTarget);
  const threshold = exactShare('downThreshold', downThreshold);
  const { maxMatches } = matchAllocation;
  const { ready, active, occupied, allocated } = counts.rooms;
  const freeSlots = (ready + active + occupied + allocated) * maxMatches - counts.runningMatches;
  if (freeSlots <= 0) return { allowed: false, formula: `roomOccupancy: ${freeSlots} free slots` };
  const slots = BigInt(roomsByOccupancy(policy.parameters, counts, maxMatches).rooms) * BigInt(maxMatches);
  const wantedFree = ceilDivide(slots * target.numerator, target.denominator);
  const allowed = wantedFree * threshold.denominator <= threshold.numerator * BigInt(freeSlots);
  return {
    allowed,
    formula: `roomOccupancy: ${wantedFree} wanted free / ${freeSlots} free ${allowed ? '<=' : '>'} ${downThreshold} (downThreshold)`,
  };
}

/**
 * When the next scale-down may happen: the fleet waits while this is later than now. Null when there is nothing to wait for.
 * Adding rooms never waits.
 */
export function cooldownEndsAtMs(settings: FleetSettings, lastDownscaleAtMs: number | null): number | null {
  if (!settings.autoscaling?.enabled || lastDownscaleAtMs === null) return null;
  return lastDownscaleAtMs + settings.autoscaling.cooldown * 1000;
}
