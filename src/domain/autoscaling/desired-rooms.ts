import type { FleetCounts } from '../room/room';
import type { SchedulerDefinition } from '../scheduler/scheduler';
import { policyParameters, roomsByFixedBuffer, roomsByOccupancy } from './rooms-by-policy';

/** The part of a scheduler that decides its size. */
export type FleetSettings = Pick<SchedulerDefinition, 'roomsReplicas' | 'autoscaling' | 'matchAllocation'>;

export interface DesiredRooms {
  desired: number;
  /** How the number came about, for "explain": `fixedBuffer: 80 in use + 50 = 130, at most 100 (max)`. */
  formula: string;
}

/**
 * How many rooms a scheduler should have: its replicas, or what its policy says, kept within min and max (a negative max is
 * no limit). Source: `rooms.md` 7.4-7.6.
 *
 * @throws DomainError `autoscaling.policy_invalid` for a policy that validation would have refused.
 */
export function desiredRooms(settings: FleetSettings, counts: FleetCounts): DesiredRooms {
  const { autoscaling, roomsReplicas, matchAllocation } = settings;
  if (!autoscaling?.enabled) return { desired: roomsReplicas, formula: `roomsReplicas = ${roomsReplicas}` };
  const policy = policyParameters(autoscaling.policy);
  const { rooms, formula } =
    policy.type === 'roomOccupancy'
      ? roomsByOccupancy(policy.parameters, counts, matchAllocation.maxMatches)
      : roomsByFixedBuffer(policy.parameters, counts);
  const { min, max } = autoscaling;
  if (rooms < min) return { desired: min, formula: `${formula}, at least ${min} (min)` };
  if (max >= 0 && rooms > max) return { desired: max, formula: `${formula}, at most ${max} (max)` };
  return { desired: rooms, formula };
}
