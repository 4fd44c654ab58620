import type { Cluster, Redis } from 'ioredis';
import type { RoomAddress } from '../../domain/room/room';
import {
  RoomAllocationStore,
  type Allocation,
  type AllocationChange,
  type AllocationOrder,
  type AllocationOutcome,
  type AllocationState,
  type Expiry,
  type Waiting,
} from '../../ports/room-allocation-store';
import { RedisRooms } from './redis-rooms';
import { allPartitionKeys } from './room-keys';

/** An allocation as `scripts/*.lua` store it. */
export interface AllocationRecord {
  id: string;
  room: string;
  /** Absent when there is none. */
  key?: string;
  /** Of the request; compared when its key comes again. */
  fingerprint: string;
  version: string;
  /** `RoomAddress` as JSON text: Lua would turn [] into {}. */
  address: string;
  state: AllocationState;
  /** Times in ms. */
  at: number;
  /** When a pending one ends, and a released one is forgotten. */
  exp?: number;
  ttl: number;
}

/** Allocations that one script ends: pings wait for it. */
const endChunkSize = 500;

/**
 * Allocations beside the rooms in Redis, one Lua script per method (`expire`: one to read, then one per scheduler that has any).
 * The client must have auto-pipelining on, as for `RedisRoomStore`.
 *
 * So that no queue and no fleet makes pings wait, a look reads at most 500 rooms of a status and a range of versions (those
 * asked for, those of the active major number, what lies between), different ones each time in a larger fleet, and with a
 * selector of metadata as many as have said 256 KiB; a call reads 2,000 for at most 1,000 waiting callers and as many for its
 * own. In a longer queue, those further back are served when they ask themselves, and newcomers join it.
 *
 * @throws DomainError `room_store.unavailable` (unavailable) from every method while Redis cannot be reached or serve. A
 *         change may have happened all the same when its answer was lost: every method may be called again, and the same id
 *         gets the same answer.
 */
export class RedisRoomAllocationStore extends RoomAllocationStore {
  private readonly rooms: RedisRooms;

  constructor(redis: Redis | Cluster) {
    super();
    this.rooms = new RedisRooms(redis);
  }

  async allocate(order: AllocationOrder, waiting?: Waiting): Promise<AllocationOutcome> {
    const [outcome, detail, text] = (await this.rooms.script('allocate', order.scheduler, [
      order.id,
      order.idempotencyKey ?? '',
      order.fingerprint,
      wantsText(order),
      waiting?.listener ?? '',
      waiting?.aliveMs ?? 0,
    ])) as [AllocationOutcome['outcome'], number, string];
    switch (outcome) {
      case 'allocated':
        return { outcome, allocation: readAllocation(order.scheduler, text), isRepeated: detail === 1 };
      case 'waiting':
        return { outcome, ahead: detail };
      case 'no_room':
      case 'rebuilding':
      case 'key_reused':
        return { outcome };
    }
  }

  async stopWaiting(scheduler: string, id: string, options: { keep: boolean }): Promise<Allocation | null> {
    const text = await this.rooms.script('stop-waiting', scheduler, [id, options.keep ? 1 : 0]);
    return text === null ? null : readAllocation(scheduler, text as string);
  }

  async serveWaiting(scheduler: string): Promise<number> {
    return (await this.rooms.script('serve-waiting', scheduler, [])) as number;
  }

  async getAllocation(scheduler: string, id: string): Promise<Allocation | null> {
    const text = await this.rooms.script('get-allocation', scheduler, [id]);
    return text === null ? null : readAllocation(scheduler, text as string);
  }

  async confirm(scheduler: string, id: string): Promise<AllocationChange | 'not_found' | 'released'> {
    const [outcome, ...change] = (await this.rooms.script('confirm-allocation', scheduler, [id])) as
      ['confirmed', string, number] | ['not_found' | 'released'];
    return outcome === 'confirmed' ? readChange(scheduler, change as [string, number]) : outcome;
  }

  async release(scheduler: string, id: string): Promise<AllocationChange | 'not_found' | 'in_use'> {
    const [outcome, ...change] = (await this.rooms.script('release-allocation', scheduler, [id])) as
      ['released', string, number] | ['not_found' | 'in_use'];
    return outcome === 'released' ? readChange(scheduler, change as [string, number]) : outcome;
  }

  async expire(limit: number): Promise<Expiry> {
    const due = (await this.readDue(limit)).sort((a, b) => a.atMs - b.atMs).slice(0, limit);
    const idsByScheduler = new Map<string, string[]>();
    for (const { id, scheduler } of due) {
      const ids = idsByScheduler.get(scheduler) ?? [];
      idsByScheduler.set(scheduler, ids);
      ids.push(id);
    }
    const endings = await Promise.all(
      [...idsByScheduler].map(async ([scheduler, ids]) => ({ scheduler, ended: await this.end(scheduler, ids) })),
    );
    return {
      ended: endings.reduce((sum, { ended }) => sum + ended, 0),
      endedOf: endings.filter(({ ended }) => ended > 0).map(({ scheduler }) => scheduler),
      handled: due.length,
    };
  }

  private async readDue(limit: number): Promise<{ id: string; scheduler: string; atMs: number }[]> {
    const answers = await this.rooms.reach(() =>
      Promise.all(
        allPartitionKeys().map(
          ({ allocationTimes }) =>
            this.rooms.run('read-due-allocations', [allocationTimes], [limit]) as Promise<string[]>,
        ),
      ),
    );
    return answers.flatMap((answer) =>
      answer.flatMap((member, place) => {
        if (place % 2 === 1) return [];
        const cut = member.indexOf('/');
        return [{ id: member.slice(0, cut), scheduler: member.slice(cut + 1), atMs: Number(answer[place + 1]) }];
      }),
    );
  }

  private async end(scheduler: string, ids: string[]): Promise<number> {
    let ended = 0;
    for (let start = 0; start < ids.length; start += endChunkSize) {
      const chunk = ids.slice(start, start + endChunkSize);
      ended += (await this.rooms.script('end-allocations', scheduler, chunk)) as number;
    }
    return ended;
  }
}

/** What is wanted, without who wants it: the same text for all who want the same, so that the script looks once for them. */
function wantsText(order: AllocationOrder): string {
  const { maxMatches, activeVersion, versions, metadata, strategy, ttlMs, pingTimeoutMs, adoptionHoldMs } = order;
  return JSON.stringify({
    maxMatches,
    activeVersion,
    versions: versions === null ? undefined : [...versions].sort(),
    metadata: Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1))),
    strategy,
    ttlMs,
    pingTimeoutMs,
    adoptionHoldMs,
  });
}

function readChange(scheduler: string, [text, isRepeated]: [string, number]): AllocationChange {
  return { allocation: readAllocation(scheduler, text), isRepeated: isRepeated === 1 };
}

function readAllocation(scheduler: string, text: string): Allocation {
  const record = JSON.parse(text) as AllocationRecord;
  return {
    id: record.id,
    scheduler,
    room: record.room,
    version: record.version,
    address: JSON.parse(record.address) as RoomAddress,
    state: record.state,
    allocatedAtMs: record.at,
    expiresAtMs: record.state === 'pending' ? (record.exp ?? null) : null,
  };
}
