import type { EarlyEnds } from '../domain/room/start-back-off';
import type { FleetCounts, Instance, PingStatus, Room, RoomAddress, RoomStatus } from '../domain/room/room';

export interface NewRoom {
  id: string;
  scheduler: string;
  version: string;
  validation: boolean;
}

/** The scheduler's settings that decide a room's status. */
export interface StatusSettings {
  /** 1..35; more than 1 makes a room `active` while it has free slots. */
  maxMatches: number;
  /** How long an allocation holds a room that still says `ready`. Milliseconds. */
  allocationTtlMs: number;
}

export interface Ping {
  scheduler: string;
  room: string;
  status: Exclude<PingStatus, 'unknown'>;
  runningMatches: number;
  /** A JSON object as text; null when the ping had none. Written only when it differs from what is stored. */
  metadata: string | null;
}

export type PingOutcome =
  /** `validation`: it is a validation room, whose operation waits for its status. */
  | { outcome: 'applied'; from: RoomStatus; to: RoomStatus; validation: boolean }
  /** The room exists, but a room in this status cannot take what it says (only `terminated` refuses). Ping time is kept. */
  | { outcome: 'refused'; from: RoomStatus }
  /** No such room: nothing was written. */
  | { outcome: 'unknown_room' };

export type InstanceOutcome =
  | { outcome: 'applied'; from: RoomStatus; to: RoomStatus }
  /** The store knew nothing of it and now has a record for it. */
  | { outcome: 'adopted'; to: RoomStatus }
  /** Older than what is stored within this watch session. */
  | { outcome: 'stale' }
  /** The room was ended before (tombstone): a late message, nothing was written. */
  | { outcome: 'ended' }
  /** No record, and `adopt` was false: nothing was written. */
  | { outcome: 'unknown_room' };

/** Which ready rooms may be given out. */
export interface AllocationLimits {
  /** A room that has said nothing for longer may be dead: it is left out. Milliseconds. */
  pingTimeoutMs: number;
  /**
   * For this long after it was found without a record (the state was lost), a room is left out: a caller may have been given
   * it before, and its players are on their way. Milliseconds.
   */
  adoptionHoldMs: number;
}

export type AllocationOutcome =
  | { outcome: 'allocated'; room: string; address: RoomAddress }
  /** Also for a scheduler that nobody knows: nothing was written. */
  | { outcome: 'no_ready_room' }
  /** The state was lost and is not whole again (`markSynced`): nothing is given out, nothing was written. */
  | { outcome: 'rebuilding' };

export interface FleetSnapshot {
  rooms: Room[];
  /** The store's clock, milliseconds since the epoch, when the snapshot began. */
  nowMs: number;
  /**
   * Since when pings could arrive without a break (a rooms API renewed its heartbeat); null when none can arrive now.
   * Silence counts only from here (`architecture.md` 3).
   */
  hearingSinceMs: number | null;
  /** True until a watcher has marked a full sync in this store: after a flush nothing may be decided. */
  rebuilding: boolean;
  /** Rooms (validation rooms apart) that failed, or ended unasked, soon after their creation: `start-back-off.ts`. */
  earlyEnds: EarlyEnds;
}

/**
 * Room state: what thousands of pings a second write. It may be lost, and is then rebuilt from the runtime and the pings.
 *
 * Promises: each method is atomic per room; a read never writes; an unknown room is never written by a ping; a terminating
 * room never leaves `terminating` except to `terminated`; counters equal a recount; time is the store's clock.
 * Not in here: schedulers, operations, decisions.
 */
export abstract class RoomStore {
  /** A record in status `pending`, before the instance exists. A tombstone of the same id counts as existing. */
  abstract createRoom(room: NewRoom): Promise<'created' | 'exists'>;

  /** One round trip. */
  abstract applyPing(ping: Ping, settings: StatusSettings): Promise<PingOutcome>;

  /**
   * Gives a ready room to a caller: the room is `allocated` from now on, and no other caller gets it. Never a validation room,
   * one without address, or one that `limits` leave out. The room that became ready last goes first: it is of the newest
   * version that there is, and the least likely to have died unheard. One round trip.
   */
  abstract allocateRoom(scheduler: string, limits: AllocationLimits): Promise<AllocationOutcome>;

  /**
   * What the watch (or the creating call) says of an instance.
   * `adopt`: make a record when there is none. `authoritative`: from a list, so generations are not compared.
   */
  abstract applyInstance(
    instance: Instance,
    settings: StatusSettings,
    options: { adopt: boolean; authoritative: boolean },
  ): Promise<InstanceOutcome>;

  /**
   * The instance is gone, or never came to be: removes the record and leaves a tombstone for 24 h, so that late news makes
   * no new record. `reason` is what the runtime says of the end; it is kept while an early end is, and that of a validation
   * room as long as the tombstone (`getEndReason`). Idempotent.
   */
  abstract endRoom(scheduler: string, id: string, reason?: string): Promise<{ existed: boolean; validation: boolean }>;

  /** What the runtime said of the end of a validation room; empty when it said nothing, or nobody remembers. */
  abstract getEndReason(scheduler: string, id: string): Promise<string>;

  /**
   * Marks rooms `terminating`. A room with a match (or an allocation) is left as it is and answered `has_match`, unless
   * `silentSinceMs` is given (the store's clock) and it has not pinged since then. A validation room is never spared: whatever
   * it says, no player was sent there. A room that is terminating already answers `terminating`.
   */
  abstract terminateRooms(
    scheduler: string,
    ids: string[],
    options?: { silentSinceMs?: number },
  ): Promise<Map<string, 'terminating' | 'has_match' | 'unknown_room'>>;

  abstract getRoom(scheduler: string, id: string): Promise<Room | null>;

  /** Metadata of the last ping that had any; null when none did. */
  abstract getMetadata(scheduler: string, id: string): Promise<Record<string, unknown> | null>;

  /** All rooms of a scheduler, in id order, in pages of 1,000 (a round trip each). */
  abstract readFleet(scheduler: string): Promise<FleetSnapshot>;

  /** O(1), one round trip. Validation rooms are not counted. */
  abstract countFleet(scheduler: string): Promise<FleetCounts>;

  /** Counts anew from the rooms themselves, repairs the counters, and answers how many differed. */
  abstract recountFleet(scheduler: string): Promise<{ repaired: number }>;

  /** Schedulers that have any room record. For clean-up, not for hot paths. */
  abstract listSchedulers(): Promise<string[]>;

  /** Removes every key of a scheduler, tombstones included. */
  abstract deleteScheduler(scheduler: string): Promise<void>;

  /** A rooms API says that it hears pings. Missing for longer than `maxGapMs`, hearing starts anew. */
  abstract markHearing(maxGapMs: number): Promise<void>;

  /** A watcher says that every instance of the runtime is in this store. */
  abstract markSynced(): Promise<void>;

  /** False when any part of the store lacks the mark (a flush, a fail-over to an empty node): list again. */
  abstract isSynced(): Promise<boolean>;
}

export type { RoomAddress };
