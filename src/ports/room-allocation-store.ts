import type { AllocationStrategy } from '../domain/room/parse-allocation-request';
import type { RoomAddress } from '../domain/room/room';

export interface AllocationOrder {
  scheduler: string;
  /** Made by the caller (a UUID), becomes the allocation's id. The same id again is the same request: it is never served twice. */
  id: string;
  /** Same key, same answer, as long as the allocation is known (`RoomAllocationStore`); null for none. */
  idempotencyKey: string | null;
  /** What is asked for, in a canonical text: a key that comes again with another one is refused. */
  fingerprint: string;
  /** How many matches a room of this scheduler holds. */
  maxMatches: number;
  /** Rooms of this version's major number come first; others only when none of those can be given. */
  activeVersion: string;
  /** Only rooms of these versions; null for any. */
  versions: readonly string[] | null;
  /** Top-level entries that the room's last metadata must have; a number or boolean equals its text (`"3"`, `"true"`). */
  metadata: Readonly<Record<string, string>>;
  strategy: AllocationStrategy;
  /** How long the allocation holds unless it is confirmed, or the room reports the match. Milliseconds. */
  ttlMs: number;
  /** A room that has said nothing for longer may be dead: it is left out. Milliseconds. */
  pingTimeoutMs: number;
  /**
   * For this long after it was found without a record (the state was lost), a room is left out: a caller may have been given
   * it before, and its players are on their way. Milliseconds.
   */
  adoptionHoldMs: number;
}

/** A caller that waits for its turn. */
export interface Waiting {
  /** Where the process of the caller is told that it was served (`Notices.address`). */
  listener: string;
  /** Until then it is asked for again (a poll), or it is forgotten: its process died. Milliseconds. */
  aliveMs: number;
}

/** `pending` until it is confirmed: by its caller, or by the room, which reports the match. */
export type AllocationState = 'pending' | 'confirmed' | 'released';

export interface Allocation {
  id: string;
  scheduler: string;
  room: string;
  /** The version of the room. */
  version: string;
  address: RoomAddress;
  state: AllocationState;
  allocatedAtMs: number;
  /** When it ends by itself; null when it does not (any more). */
  expiresAtMs: number | null;
}

export type AllocationOutcome =
  | {
      outcome: 'allocated';
      allocation: Allocation;
      /** Given before: the same id, or the same key. */
      isRepeated: boolean;
    }
  /** No room that may be given; also for a scheduler that nobody knows. Nothing was written. */
  | { outcome: 'no_room' }
  /** No room yet; the caller has its place in the queue, behind `ahead` others. */
  | { outcome: 'waiting'; ahead: number }
  /** The state was lost and is not whole again (`RoomStore.markSynced`): nothing is given out. A waiting caller has its place. */
  | { outcome: 'rebuilding' }
  /** The idempotency key was used for another request. */
  | { outcome: 'key_reused' };

/** What a confirmation or a release came to. */
export interface AllocationChange {
  allocation: Allocation;
  /** It was so before: nothing was written. */
  isRepeated: boolean;
}

/** What a round of `expire` did. */
export interface Expiry {
  /** Pending allocations that ended. */
  ended: number;
  /** The schedulers that these were of, each once. */
  endedOf: string[];
  /** All that were due, those among them that were only forgotten. Fewer than the limit: nothing is left. */
  handled: number;
}

/**
 * Who was given which slot of which room. Lives and is lost with the room state. Each method is one atomic step.
 *
 * A room may be given out when it is ready (or active, with a free slot), has an address and a recent ping, is no validation
 * room, is not draining or terminating, and has a free slot: maxMatches - running matches - open allocations. A room for one
 * match becomes `allocated`; one for several keeps its status. An allocation dies with its room, and when the room says that it
 * terminates. Once its room has reported the match it holds no slot any more: it is known, with its key, for another of its time
 * to live, then both are forgotten.
 */
export abstract class RoomAllocationStore {
  /**
   * Serves those who wait, in the order of their arrival, then this caller: nobody is overtaken by one who asks for what he
   * could have, so in a queue too long to be looked through a newcomer gets nothing yet. With `waiting`, a caller that gets
   * nothing is put in (or keeps) its place; the same call again is the poll.
   */
  abstract allocate(order: AllocationOrder, waiting?: Waiting): Promise<AllocationOutcome>;

  /** The caller waits no longer. An allocation that it was given meanwhile is released, unless `keep`: then it is the answer. */
  abstract stopWaiting(scheduler: string, id: string, options: { keep: boolean }): Promise<Allocation | null>;

  /** Serves those who wait, as far as there are rooms. Who was served is told by a notice. Answers how many. */
  abstract serveWaiting(scheduler: string): Promise<number>;

  /** Null when there is none: never made, expired, or its room ended. */
  abstract getAllocation(scheduler: string, id: string): Promise<Allocation | null>;

  /**
   * From now on it does not expire: it holds its slot until the room reports the match or ends, or it is released. A ping that
   * comes later than its time to live from now on, and reports no match for it, counts as the report: one match may have
   * followed another between two pings, and the slot would be lost for the room's life. Idempotent.
   */
  abstract confirm(scheduler: string, id: string): Promise<AllocationChange | 'not_found' | 'released'>;

  /**
   * Gives the slot back, and serves those who wait. Idempotent. `in_use`: the room has reported the match (or counts as having
   * done so, see `confirm`), it is the room's to end.
   */
  abstract release(scheduler: string, id: string): Promise<AllocationChange | 'not_found' | 'in_use'>;

  /** Ends the allocations whose time is over, and forgets others, at most `limit`, everywhere; serves those who wait there. */
  abstract expire(limit: number): Promise<Expiry>;
}

export type { AllocationStrategy };
