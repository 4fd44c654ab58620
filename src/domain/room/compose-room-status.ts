import type { InstanceStatus, PingStatus, RoomStatus } from './room';

type ByInstance = Readonly<Record<InstanceStatus, RoomStatus>>;

const comesUp: ByInstance = {
  unknown: 'pending',
  pending: 'pending',
  ready: 'unready',
  terminating: 'terminating',
  error: 'error',
};
const leaving: ByInstance = {
  unknown: 'terminating',
  pending: 'terminating',
  ready: 'terminating',
  terminating: 'terminating',
  error: 'error',
};
const left: ByInstance = {
  unknown: 'terminated',
  pending: 'terminated',
  ready: 'terminated',
  terminating: 'terminated',
  error: 'error',
};

/** One row per ping; a failed instance wins over anything that the room said before. */
const composedStatuses: Readonly<Record<PingStatus, ByInstance>> = {
  unknown: comesUp,
  ready: { ...comesUp, ready: 'ready' },
  occupied: { ...comesUp, ready: 'occupied' },
  terminating: leaving,
  terminated: left,
};

/**
 * What a room's last word and its instance's state say together, before matches, allocation and history count
 * (`nextRoomStatus` adds those). All 25 pairs are defined. Source: v10's composition table (`rooms.md` 2.2).
 */
export function composeRoomStatus(ping: PingStatus, instance: InstanceStatus): RoomStatus {
  return composedStatuses[ping][instance];
}
