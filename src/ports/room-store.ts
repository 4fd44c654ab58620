import type { EarlyEnds, VersionFailures } from '../domain/room/start-back-off';
import type {
  DrainReason,
  FleetCounts,
  Instance,
  PingStatus,
  Room,
  RoomAddress,
  RoomStatus,
  RoomTransition,
} from '../domain/room/room';

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
}

export interface Ping {
  scheduler: string;
  room: string;
  status: Exclude<PingStatus, 'unknown'>;
  runningMatches: number;
  /** A JSON object as text; null when the room has none, undefined when it is as before. Written only when it differs. */
  metadata: string | null | undefined;
  /** Where the process that holds a stream to this room is told of notices (`Notices.address`); null when there is no stream. */
  listener: string | null;
  /** The scheduler has enabled forwarders: they are to hear of this ping (a resync), at most once per ping interval. */
  resync: boolean;
}

export type PingOutcome =
  | {
      outcome: 'applied';
      from: RoomStatus;
      to: RoomStatus;
      /** It is a validation room, whose operation waits for its status. */
      validation: boolean;
      /** The room is to go once it is empty. */
      draining: boolean;
      /** Slots that are given out and not reported yet, after this ping. */
      openAllocations: number;
      /**
       * Callers wait for a room of this scheduler, and this ping freed a slot: serve them. Not said again of a slot that was
       * free before, so that those who wait for what no room has cost the pings nothing.
       */
      isAwaited: boolean;
      /** Other slots of it are used than before this ping (matches that run, allocations), or it has a match and had none, or the reverse. */
      isUsedOtherwise: boolean;
      /** It had a match, or was given out, and is not any more. */
      hasLostMatch: boolean;
    }
  /** The room exists, but a room in this status cannot take what it says (only `terminated` refuses). Ping time is kept. */
  | { outcome: 'refused'; from: RoomStatus }
  /** No such room: nothing was written. */
  | { outcome: 'unknown_room' };

export type InstanceOutcome =
  | {
      outcome: 'applied';
      from: RoomStatus;
      to: RoomStatus;
      /** Present when containers of it were started again since it was last heard of. */
      hasRestarted?: true;
    }
  /** The store knew nothing of it and now has a record for it. */
  | { outcome: 'adopted'; to: RoomStatus }
  /** Older than what is stored within this watch session. */
  | { outcome: 'stale' }
  /** The room was ended before (tombstone): a late message, nothing was written. */
  | { outcome: 'ended' }
  /** No record, and `adopt` was false: nothing was written. */
  | { outcome: 'unknown_room' };

export interface EndedRoom {
  /** Whether there was a record. */
  existed: boolean;
  validation: boolean;
  /** Why it ended, as it was kept. */
  reason: string;
  /** Somebody else asked for its end, in the words of `reason`. */
  isUnasked: boolean;
}

/** How far back what went wrong counts. Milliseconds. */
export interface FleetWindows {
  /** For `FleetSnapshot.failures`; at most an hour (`failuresKeptMs`). */
  failureWindowMs?: number;
  /** For `FleetSnapshot.earlyEnds`; at most ten minutes (`earlyEndWindowMs`). */
  earlyEndWindowMs?: number;
}

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
  /** Rooms (validation rooms apart) that failed, or ended unasked, soon after their creation or before they were up: `start-back-off.ts`. */
  earlyEnds: EarlyEnds;
  /**
   * Rooms (validation rooms apart) that failed within `failureWindowMs`, by version, each once and whatever its age
   * (`VersionFailures`). Only the newest 2,000 of all versions are counted, so that a fleet that crashes all the time costs no more
   * than that to look at.
   */
  failures: ReadonlyMap<string, VersionFailures>;
}

export type DrainOutcome = 'draining' | 'has_match' | 'terminating' | 'unknown_room';

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

  /**
   * One round trip. A ping that reports `occupied`, or more matches than the last one, uses up as many of the room's open
   * allocations, oldest first. A change of status is appended to the partition's event stream in the same step.
   */
  abstract applyPing(ping: Ping, settings: StatusSettings): Promise<PingOutcome>;

  /**
   * What the watch (or the creating call) says of an instance.
   * `adopt`: make a record when there is none. `authoritative`: from a list, so generations are not compared.
   * `unasked`: what is said of the instance from now on, instead of what it says itself, where it is being ended and its room was
   * neither going nor over before: nobody here asked for that. Not of a room that is found now.
   */
  abstract applyInstance(
    instance: Instance,
    settings: StatusSettings,
    options: { adopt: boolean; authoritative: boolean; unasked?: string },
  ): Promise<InstanceOutcome>;

  /**
   * The instance is gone, or never came to be: removes the record and leaves a tombstone for 24 h, so that late news makes
   * no new record. `reason` is what the runtime says of the end; it is kept while an early end or a failure is, and that of a validation
   * room as long as the tombstone (`getEndReason`). `unasked`: the reason where nobody here asked for the end, as in
   * `applyInstance`. `mayComeBack`: it was lost out of sight and may run on, so that no tombstone is left: seen again, it is found
   * like any other. Idempotent.
   */
  abstract endRoom(
    scheduler: string,
    id: string,
    reason?: string,
    unasked?: string,
    options?: { mayComeBack?: boolean },
  ): Promise<EndedRoom>;

  /** What the runtime said of the end of a validation room; empty when it said nothing, or nobody remembers. */
  abstract getEndReason(scheduler: string, id: string): Promise<string>;

  /**
   * Marks rooms `terminating`. A room with a match (or an allocation) is left as it is and answered `has_match`, unless
   * `silentSinceMs` is given (the store's clock) and it has not pinged since then. A validation room is never spared: whatever
   * it says, no player was sent there. A room that is terminating already answers `terminating`. Nobody has asked its instance to end
   * by that (`noteEndAsked`).
   */
  abstract terminateRooms(
    scheduler: string,
    ids: string[],
    options: {
      /** Why, as the room's transitions tell it. */
      reason: string;
      silentSinceMs?: number;
      /** They failed, in these words, though their instances did not: each counts as an early end (`FleetSnapshot.earlyEnds`) if it is young or never was up. Kept as the reason of its end. */
      failedBecause?: string;
      /** An operator named these rooms, or the drain deadline of their scheduler is over: no match spares them. */
      byName?: boolean;
    },
  ): Promise<Map<string, 'terminating' | 'has_match' | 'unknown_room'>>;

  /**
   * The runtime was asked to end the instances of these rooms, and heard it (`Room.endAsked`). An ask that never reached it must not
   * be noted: a room that was asked in vain is asked again less and less often. Of a room that is not leaving, or not known, nothing
   * is noted.
   */
  abstract noteEndAsked(scheduler: string, ids: readonly string[]): Promise<void>;

  /**
   * These rooms could not be started now, and whoever starts them tries again (`Room.startPutOff`). Of a room whose instance was heard
   * of, that leaves, or that is not known, nothing is noted.
   */
  abstract noteStartPutOff(scheduler: string, ids: readonly string[], reason: string): Promise<void>;

  /**
   * Marks rooms as draining: no longer given out, told so on their streams, otherwise as they were. Idempotent; a terminating
   * room stays what it is. For `scale_down` a room with a match (or an allocation) is left as it is and answered `has_match`.
   * A room that drains keeps its reason, except that an operator's takes the place of any other.
   */
  abstract drainRooms(scheduler: string, ids: string[], reason: DrainReason): Promise<Map<string, DrainOutcome>>;

  /**
   * Takes the mark off rooms that drain for this very reason: they may be given out again, and are told so on their streams. Which
   * ones it was taken off.
   */
  abstract releaseRooms(scheduler: string, ids: string[], reason: DrainReason): Promise<string[]>;

  /** The last changes of a room's status, newest first, at most 10. Empty for an unknown room. */
  abstract getTransitions(scheduler: string, id: string): Promise<RoomTransition[]>;

  abstract getRoom(scheduler: string, id: string): Promise<Room | null>;

  /** Those of these rooms that are known, by id; one round trip. */
  abstract readRooms(
    scheduler: string,
    ids: readonly string[],
  ): Promise<{ rooms: Map<string, Room> } & Pick<FleetSnapshot, 'nowMs' | 'rebuilding'>>;

  /** Metadata of the last ping; null when it had none. */
  abstract getMetadata(scheduler: string, id: string): Promise<Record<string, unknown> | null>;

  /** The store's clock, and since when pings could arrive, as in a `FleetSnapshot`. */
  abstract readHearing(): Promise<Pick<FleetSnapshot, 'nowMs' | 'hearingSinceMs'>>;

  /**
   * All rooms of a scheduler, in id order, in pages of 1,000 (a round trip each). What ended early counts within the window of
   * the back-off, where `windows` does not say otherwise.
   */
  abstract readFleet(scheduler: string, windows?: FleetWindows): Promise<FleetSnapshot>;

  /** `FleetSnapshot.earlyEnds`. O(1), one round trip. */
  abstract readEarlyEnds(scheduler: string): Promise<EarlyEnds>;

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
