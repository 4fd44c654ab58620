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

/** What a ping may report: int32, exact in every store and in Lua's JSON, and far more than the 35 slots that a room can have. */
export const mostRunningMatches = 2 ** 31 - 1;

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

/** What a runtime says of containers that it started again within an instance. */
export interface InstanceRestarts {
  /** Starts beyond the first, of all containers together. */
  count: number;
  /** How the one ended that ended last; null when nobody remembers. */
  lastEnd: ContainerEnd | null;
}

export interface ContainerEnd {
  container: string;
  exitCode: number;
  /** The runtime's word (`OOMKilled`, `Error`); empty when it has none. */
  reason: string;
  /** Milliseconds since the epoch, the runtime's clock; null when it does not say. */
  atMs: number | null;
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
  /** Absent while none of its containers was started again. */
  restarts?: InstanceRestarts;
}

/** A slot of a room that was given to a caller, whose match the room has not reported yet. */
export interface OpenAllocation {
  id: string;
  allocatedAtMs: number;
  /**
   * Null once its caller confirmed it: from then on it holds until the room reports a match, ends, or it is released; at last
   * until a ping that comes later than the allocation's time to live after that.
   */
  expiresAtMs: number | null;
}

export const drainReasons = [
  /** An operator wants it to go once it is empty: it is replaced at once. */
  'operator',
  /** It is one too many: if nobody has come to it one ping interval later, it goes; else it stays. */
  'scale_down',
  /** Its version was replaced: it stays in use while it has a match. */
  'rollout',
] as const;
export type DrainReason = (typeof drainReasons)[number];

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
  /** Given to callers, and the room has not reported their matches yet; oldest first. Each takes a slot. */
  allocations: OpenAllocation[];
  /** Since when it gets no new players, because it is to go once it is empty; null when it may be given out. */
  drainingSinceMs: number | null;
  /** Why it drains; null when it does not. */
  drainReason: DrainReason | null;
  /** How often Maestro asked its instance to end and the runtime heard it, and when last; null while it did not. */
  endAsked: { times: number; lastAtMs: number } | null;
  /** When its start was put off last, and why; null when it was not, or its instance is there. */
  startPutOff: { lastAtMs: number; reason: string } | null;
  instance: {
    status: InstanceStatus;
    description: string;
    address: RoomAddress | null;
    /** Null while none of its containers was started again. */
    restarts: InstanceRestarts | null;
  };
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
export function hasMatch(room: Pick<Room, 'status' | 'runningMatches' | 'allocations'>): boolean {
  return (
    room.status === 'occupied' ||
    room.status === 'active' ||
    room.status === 'allocated' ||
    room.runningMatches > 0 ||
    room.allocations.length > 0
  );
}

/** Whether players can be sent there, or are there, also where the status hides it (an instance that is not ready for a moment). */
export function isUp(room: Pick<Room, 'status' | 'runningMatches' | 'allocations'>): boolean {
  return room.status === 'ready' || hasMatch(room);
}

/** What made a room take a status. */
export const transitionCauses = [
  /** Its record was made, or it was found running without one. */
  'created',
  'adopted',
  /** What the room said. */
  'ping',
  /** What the runtime said of its instance. */
  'instance',
  /** It was given to a caller; the allocation expired, or was released. */
  'allocated',
  'allocation_expired',
  'allocation_released',
  /** Maestro began to remove it. */
  'removal',
] as const;
export type TransitionCause = (typeof transitionCauses)[number];

/** One change of a room's status. */
export interface RoomTransition {
  atMs: number;
  /** Null for the first one. */
  from: RoomStatus | null;
  to: RoomStatus;
  cause: TransitionCause;
  /** What was said: a ping's word, an instance's description, a removal's reason, an allocation's id. */
  detail: string;
}
