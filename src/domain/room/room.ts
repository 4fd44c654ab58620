/**
 * A room is one game server of a scheduler; its instance is what the runtime runs for it (a pod, a process).
 * The order of the words below is v10's numbering (`rooms.md` 2.1): the index is the stored integer.
 */

export const roomStatuses = [
  'pending',
  'unready',
  'ready',
  'occupied',
  'terminating',
  'error',
  'terminated',
  'active',
  'allocated',
] as const;
/** Composed from what the room says (ping) and what the runtime says (instance). */
export type RoomStatus = (typeof roomStatuses)[number];

export const pingStatuses = ['unknown', 'ready', 'occupied', 'terminating', 'terminated'] as const;
/** What the room said last; `unknown` until its first ping. */
export type PingStatus = (typeof pingStatuses)[number];

export const instanceStatuses = ['unknown', 'pending', 'ready', 'terminating', 'error'] as const;
/** What the runtime says of the instance; `unknown` when it has not said anything yet. */
export type InstanceStatus = (typeof instanceStatuses)[number];

export interface RoomPort {
  name: string;
  /** Upper case as Kubernetes reports it: `TCP`, `UDP`, `SCTP`. */
  protocol: string;
  /** The port on the host, that players connect to. */
  port: number;
}

export interface RoomAddress {
  host: string;
  ports: RoomPort[];
}

/** What the runtime reports of one instance. */
export interface Instance {
  /** The same as the room's id. */
  id: string;
  scheduler: string;
  /** The scheduler version that it was made from. */
  version: string;
  validation: boolean;
  status: InstanceStatus;
  /** Why it has this status (`CrashLoopBackOff: ...`, `exited with code 1`), empty when there is nothing to say. */
  description: string;
  /** Null until the runtime knows where it runs. */
  address: RoomAddress | null;
  /** Milliseconds since the epoch, the runtime's clock. */
  createdAtMs: number;
  /** Grows with each change of this instance within one watch session; across sessions a list is authoritative. */
  generation: number;
}

/** A room as the store knows it. */
export interface Room {
  id: string;
  scheduler: string;
  version: string;
  /** A room that only proves that a new version starts: never matchable, never capacity. */
  validation: boolean;
  status: RoomStatus;
  /** When it took this status. */
  statusSinceMs: number;
  pingStatus: PingStatus;
  /** The store's clock at the last ping; null before the first. */
  lastPingAtMs: number | null;
  createdAtMs: number;
  /** Set when the room was found running without a record (state lost, or made by another). Silence counts from here. */
  adoptedAtMs: number | null;
  runningMatches: number;
  allocatedAtMs: number | null;
  instance: { status: InstanceStatus; description: string; address: RoomAddress | null };
}

/** Rooms and instances by status, and running matches: what the counters hold. */
export interface FleetCounts {
  rooms: Record<RoomStatus, number>;
  instances: Record<InstanceStatus, number>;
  runningMatches: number;
}

/**
 * Whether players may be in the room, or on their way to it: such a room is not removed by scaling, rollout or clean-up.
 * The count of matches decides too, because a status (`unready`, `terminating`) may hide a match that still runs.
 */
export function hasMatch(room: Pick<Room, 'status' | 'runningMatches'>): boolean {
  return (
    room.status === 'occupied' || room.status === 'active' || room.status === 'allocated' || room.runningMatches > 0
  );
}
