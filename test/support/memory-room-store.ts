import { DomainError } from '../../src/domain/errors';
import { matchLoad, nextRoomStatus } from '../../src/domain/room/next-room-status';
import { earlyEndAgeMs, earlyEndWindowMs, type EarlyEnds } from '../../src/domain/room/start-back-off';
import {
  hasMatch,
  instanceStatuses,
  roomStatuses,
  type FleetCounts,
  type Instance,
  type Room,
  type RoomStatus,
} from '../../src/domain/room/room';
import {
  RoomStore,
  type AllocationLimits,
  type AllocationOutcome,
  type FleetSnapshot,
  type InstanceOutcome,
  type NewRoom,
  type Ping,
  type PingOutcome,
  type StatusSettings,
} from '../../src/ports/room-store';

const tombstoneMs = 24 * 60 * 60 * 1_000;

interface StoredRoom {
  room: Room;
  metadata: string | null;
  generation: number | null;
}

interface Fleet {
  rooms: Map<string, StoredRoom>;
  endedAtMs: Map<string, number>;
  earlyEnds: { atMs: number; reason: string }[];
  endReasons: Map<string, string>;
}

/**
 * Room state in this process, for small tests of features: decides with the domain's functions, keeps every promise of the
 * port (`test/contract/room-store.contract.ts`). `nowMs` is the store's clock.
 */
export class MemoryRoomStore extends RoomStore {
  private fleets = new Map<string, Fleet>();
  private hearing: { sinceMs: number; lastMs: number; maxGapMs: number } | null = null;
  private synced = false;

  constructor(private readonly nowMs: () => number = Date.now) {
    super();
  }

  async createRoom({ id, scheduler, version, validation }: NewRoom): Promise<'created' | 'exists'> {
    const fleet = this.fleetOf(scheduler);
    if (fleet.rooms.has(id) || this.isEnded(fleet, id)) {
      return 'exists';
    }
    const now = this.nowMs();
    fleet.rooms.set(id, {
      room: newRoom({ id, scheduler, version, validation }, now),
      metadata: null,
      generation: null,
    });
    return 'created';
  }

  async applyPing(ping: Ping, settings: StatusSettings): Promise<PingOutcome> {
    if (!Number.isSafeInteger(ping.runningMatches) || ping.runningMatches < 0 || ping.runningMatches >= 2 ** 31) {
      throw new DomainError('invalid_argument', 'room.running_matches_invalid', 'Send a whole number from 0 on.');
    }
    const stored = this.fleetOf(ping.scheduler).rooms.get(ping.room);
    if (stored === undefined) {
      return { outcome: 'unknown_room' };
    }
    const { room } = stored;
    const from = room.status;
    room.lastPingAtMs = this.nowMs();
    const runningMatches = ping.status === 'occupied' && ping.runningMatches === 0 ? 1 : ping.runningMatches;
    const to = this.statusOf({ ...room, pingStatus: ping.status, runningMatches }, settings);
    if (to === 'refused') {
      return { outcome: 'refused', from };
    }
    room.pingStatus = ping.status;
    room.runningMatches = runningMatches;
    this.setStatus(room, to);
    stored.metadata = ping.metadata ?? stored.metadata;
    return { outcome: 'applied', from, to, validation: room.validation };
  }

  async allocateRoom(scheduler: string, limits: AllocationLimits): Promise<AllocationOutcome> {
    if (!this.synced) return { outcome: 'rebuilding' };
    const now = this.nowMs();
    const candidates = this.roomsOf(scheduler)
      .filter(({ status, validation }) => status === 'ready' && !validation)
      .filter(({ lastPingAtMs }) => lastPingAtMs !== null && now - lastPingAtMs <= limits.pingTimeoutMs)
      .filter(({ adoptedAtMs }) => adoptedAtMs === null || now - adoptedAtMs >= limits.adoptionHoldMs)
      .sort((one, other) => one.statusSinceMs - other.statusSinceMs);
    const room = candidates.filter(({ instance }) => instance.address !== null).at(-1);
    if (room === undefined) return { outcome: 'no_ready_room' };
    this.setStatus(room, 'allocated');
    room.allocatedAtMs = now;
    return { outcome: 'allocated', room: room.id, address: structuredClone(room.instance.address!) };
  }

  async applyInstance(
    instance: Instance,
    settings: StatusSettings,
    options: { adopt: boolean; authoritative: boolean },
  ): Promise<InstanceOutcome> {
    const fleet = this.fleetOf(instance.scheduler);
    const stored = fleet.rooms.get(instance.id);
    if (stored === undefined) {
      if (this.isEnded(fleet, instance.id)) {
        return { outcome: 'ended' };
      }
      if (!options.adopt) {
        return { outcome: 'unknown_room' };
      }
      const now = this.nowMs();
      const room: Room = {
        ...newRoom(instance, now),
        createdAtMs: instance.createdAtMs,
        adoptedAtMs: now,
        instance: seenAs(instance),
      };
      const to = this.statusOf(room, settings);
      this.setStatus(room, to === 'refused' ? room.status : to);
      fleet.rooms.set(instance.id, { room, metadata: null, generation: instance.generation });
      return { outcome: 'adopted', to: room.status };
    }
    if (!options.authoritative && stored.generation !== null && instance.generation < stored.generation) {
      return { outcome: 'stale' };
    }
    const { room } = stored;
    const from = room.status;
    stored.generation = instance.generation;
    room.instance = seenAs(instance);
    const to = this.statusOf(room, settings);
    this.setStatus(room, to === 'refused' ? from : to);
    if (room.status === 'error' && from !== 'error') this.noteEarlyEnd(fleet, room, instance.description);
    return { outcome: 'applied', from, to: room.status };
  }

  async endRoom(scheduler: string, id: string, reason = ''): Promise<{ existed: boolean; validation: boolean }> {
    const fleet = this.fleetOf(scheduler);
    const stored = fleet.rooms.get(id);
    if (stored !== undefined && !['terminating', 'terminated', 'error'].includes(stored.room.status)) {
      this.noteEarlyEnd(fleet, stored.room, reason);
    }
    if (stored?.room.validation && reason !== '') fleet.endReasons.set(id, reason);
    fleet.rooms.delete(id);
    if (!this.isEnded(fleet, id)) {
      fleet.endedAtMs.set(id, this.nowMs());
    }
    return { existed: stored !== undefined, validation: stored?.room.validation ?? false };
  }

  async getEndReason(scheduler: string, id: string): Promise<string> {
    const { endReasons } = this.fleetOf(scheduler);
    return endReasons.get(id) ?? '';
  }

  async terminateRooms(
    scheduler: string,
    ids: string[],
    options: { silentSinceMs?: number } = {},
  ): Promise<Map<string, 'terminating' | 'has_match' | 'unknown_room'>> {
    const { rooms } = this.fleetOf(scheduler);
    return new Map(ids.map((id) => [id, this.terminate(rooms.get(id)?.room, options.silentSinceMs)] as const));
  }

  async getRoom(scheduler: string, id: string): Promise<Room | null> {
    const stored = this.fleetOf(scheduler).rooms.get(id);
    return stored === undefined ? null : structuredClone(stored.room);
  }

  async getMetadata(scheduler: string, id: string): Promise<Record<string, unknown> | null> {
    const metadata = this.fleetOf(scheduler).rooms.get(id)?.metadata ?? null;
    return metadata === null ? null : (JSON.parse(metadata) as Record<string, unknown>);
  }

  async readFleet(scheduler: string): Promise<FleetSnapshot> {
    const nowMs = this.nowMs();
    const isHeard = this.hearing !== null && nowMs - this.hearing.lastMs <= this.hearing.maxGapMs;
    return {
      rooms: structuredClone(this.roomsOf(scheduler)),
      nowMs,
      hearingSinceMs: isHeard ? this.hearing!.sinceMs : null,
      rebuilding: !this.synced,
      earlyEnds: this.earlyEndsOf(scheduler),
    };
  }

  async countFleet(scheduler: string): Promise<FleetCounts> {
    const counted = this.roomsOf(scheduler).filter((room) => !room.validation);
    return {
      rooms: countWords(
        roomStatuses,
        counted.map((room) => room.status),
      ),
      instances: countWords(
        instanceStatuses,
        counted.map((room) => room.instance.status),
      ),
      runningMatches: counted.reduce((sum, room) => sum + room.runningMatches, 0),
    };
  }

  /** Nothing can differ: this store counts when it is asked. */
  async recountFleet(): Promise<{ repaired: number }> {
    return { repaired: 0 };
  }

  async listSchedulers(): Promise<string[]> {
    return [...this.fleets].flatMap(([name, fleet]) => (fleet.rooms.size > 0 ? [name] : [])).sort();
  }

  async deleteScheduler(scheduler: string): Promise<void> {
    this.fleets.delete(scheduler);
  }

  async markHearing(maxGapMs: number): Promise<void> {
    const now = this.nowMs();
    const goesOn = this.hearing !== null && now - this.hearing.lastMs <= maxGapMs && this.hearing.sinceMs <= now;
    this.hearing = { sinceMs: goesOn ? this.hearing!.sinceMs : now, lastMs: now, maxGapMs };
  }

  async markSynced(): Promise<void> {
    this.synced = true;
  }

  async isSynced(): Promise<boolean> {
    return this.synced;
  }

  /** Not of the port: everything is lost, as after a flush. */
  loseEverything(): void {
    this.fleets = new Map();
    this.hearing = null;
    this.synced = false;
  }

  /** Not of the port: this room was given to a caller, some time ago. */
  giveRoom(scheduler: string, id: string, agoMs: number): void {
    const { room } = this.fleetOf(scheduler).rooms.get(id)!;
    this.setStatus(room, 'allocated');
    room.allocatedAtMs = this.nowMs() - agoMs;
  }

  /** Not of the port: the room's end lies further back. */
  ageTombstone(scheduler: string, id: string, byMs: number): void {
    const { endedAtMs } = this.fleetOf(scheduler);
    endedAtMs.set(id, endedAtMs.get(id)! - byMs);
  }

  private fleetOf(scheduler: string): Fleet {
    let fleet = this.fleets.get(scheduler);
    if (fleet === undefined) {
      fleet = { rooms: new Map(), endedAtMs: new Map(), earlyEnds: [], endReasons: new Map() };
      this.fleets.set(scheduler, fleet);
    }
    return fleet;
  }

  private roomsOf(scheduler: string): Room[] {
    const rooms = [...this.fleetOf(scheduler).rooms.values()].map(({ room }) => room);
    return rooms.sort((one, other) => Buffer.compare(Buffer.from(one.id), Buffer.from(other.id)));
  }

  private noteEarlyEnd(fleet: Fleet, room: Room, reason: string): void {
    const atMs = this.nowMs();
    if (!room.validation && atMs - room.createdAtMs <= earlyEndAgeMs) fleet.earlyEnds.push({ atMs, reason });
  }

  private earlyEndsOf(scheduler: string): EarlyEnds {
    const ends = this.fleetOf(scheduler).earlyEnds.filter(({ atMs }) => atMs >= this.nowMs() - earlyEndWindowMs);
    return { count: ends.length, lastAtMs: ends.at(-1)?.atMs ?? null, lastReason: ends.at(-1)?.reason ?? '' };
  }

  private isEnded(fleet: Fleet, id: string): boolean {
    const endedAtMs = fleet.endedAtMs.get(id);
    return endedAtMs !== undefined && endedAtMs > this.nowMs() - tombstoneMs;
  }

  private statusOf(room: Room, settings: StatusSettings): RoomStatus | 'refused' {
    return nextRoomStatus({
      current: room.status,
      ping: room.pingStatus,
      instance: room.instance.status,
      matches: matchLoad(room.runningMatches, settings.maxMatches),
      allocationHolds: room.allocatedAtMs !== null && this.nowMs() - room.allocatedAtMs <= settings.allocationTtlMs,
    });
  }

  private setStatus(room: Room, status: RoomStatus): void {
    if (room.status !== status) {
      room.status = status;
      room.statusSinceMs = this.nowMs();
      room.allocatedAtMs = status === 'allocated' ? room.allocatedAtMs : null;
    }
  }

  private terminate(
    room: Room | undefined,
    silentSinceMs: number | undefined,
  ): 'terminating' | 'has_match' | 'unknown_room' {
    if (room === undefined) {
      return 'unknown_room';
    }
    if (room.status === 'terminating' || room.status === 'terminated') {
      return 'terminating';
    }
    const isSilent = silentSinceMs !== undefined && (room.lastPingAtMs ?? 0) < silentSinceMs;
    if (!isSilent && !room.validation && hasMatch(room)) {
      return 'has_match';
    }
    this.setStatus(room, 'terminating');
    return 'terminating';
  }
}

function newRoom(room: NewRoom, nowMs: number): Room {
  return {
    id: room.id,
    scheduler: room.scheduler,
    version: room.version,
    validation: room.validation,
    status: 'pending',
    statusSinceMs: nowMs,
    pingStatus: 'unknown',
    lastPingAtMs: null,
    createdAtMs: nowMs,
    adoptedAtMs: null,
    runningMatches: 0,
    allocatedAtMs: null,
    instance: { status: 'unknown', description: '', address: null },
  };
}

function seenAs(instance: Instance): Room['instance'] {
  return structuredClone({ status: instance.status, description: instance.description, address: instance.address });
}

function countWords<Word extends string>(words: readonly Word[], found: Word[]): Record<Word, number> {
  return Object.fromEntries(words.map((word) => [word, found.filter((each) => each === word).length])) as Record<
    Word,
    number
  >;
}
