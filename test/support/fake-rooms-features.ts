import { RoomsApiOptions } from '../../src/api/rooms/rooms-handlers';
import { DomainError } from '../../src/domain/errors';
import type { ForwardingAnswer } from '../../src/domain/event/compose-forwarding-answer';
import type { AllocationWish } from '../../src/domain/room/parse-allocation-request';
import type { RoomAddress } from '../../src/domain/room/room';
import { EventForwardingService, type EventMetadata } from '../../src/features/events/event-forwarding.service';
import { RoomAddressesService } from '../../src/features/rooms/room-addresses.service';
import { RoomAllocationsService } from '../../src/features/rooms/room-allocations.service';
import { RoomStreamsService } from '../../src/features/rooms/room-streams.service';
import { RoomPingsService, type PingAnswer, type RoomPing } from '../../src/features/rooms/room-pings.service';
import type { Allocation } from '../../src/ports/room-allocation-store';

type PublicSide<T> = { [K in keyof T]: T[K] };

export class FakePings implements PublicSide<RoomPingsService> {
  readonly pings: RoomPing[] = [];
  success = true;

  async handlePing(ping: RoomPing): Promise<PingAnswer> {
    if (!['ready', 'occupied', 'terminating', 'terminated'].includes(ping.status)) {
      throw new DomainError('invalid_argument', 'room.unknown_status', `unknown room status "${ping.status}"`);
    }
    this.pings.push(ping);
    if (!this.success) return { success: false, reason: 'unknown_room' };
    return { success: true, status: 'ready', draining: false, openAllocations: 0 };
  }
}

/** Remembers what was sent, and answers the same to everything. */
export class FakeEvents implements PublicSide<EventForwardingService> {
  readonly sent: unknown[][] = [];
  answer: ForwardingAnswer = { success: true, message: '' };

  async forwardRoomEvent(scheduler: string, room: string, event: { event: string; metadata: EventMetadata }) {
    this.sent.push(['room', scheduler, room, event]);
    return this.answer;
  }
  async forwardPlayerEvent(scheduler: string, room: string, event: { event: string; metadata: EventMetadata }) {
    this.sent.push(['player', scheduler, room, event]);
    return this.answer;
  }
  async forwardRoomStatus(scheduler: string, room: string, status: { status: string; metadata: EventMetadata }) {
    this.sent.push(['status', scheduler, room, status]);
    return this.answer;
  }
}

const address: RoomAddress = {
  host: 'room-host',
  ports: [
    { name: 'port-name', protocol: 'TCP', port: 8080 },
    { name: 'a-game', protocol: 'UDP', port: 7 },
  ],
};

/** Knows the rooms of the scheduler `arena` only. */
export class FakeAddresses implements PublicSide<RoomAddressesService> {
  readonly asked: string[][] = [];

  async getAddress(scheduler: string, room: string): Promise<RoomAddress> {
    this.asked.push([scheduler, room]);
    if (scheduler === 'arena') return address;
    throw new DomainError('unknown', 'room.not_found', `room ${room} not found in scheduler ${scheduler}`);
  }
}

/** Has a ready room of the scheduler `arena` for everybody, and one allocation there. */
export class FakeAllocations implements PublicSide<RoomAllocationsService> {
  readonly asked: string[] = [];
  readonly wishes: AllocationWish[] = [];

  async allocateRoom(scheduler: string): Promise<{ room: string; address: RoomAddress }> {
    this.asked.push(scheduler);
    if (scheduler === 'arena') return { room: 'arena-7', address };
    const message = `no ready rooms available for scheduler ${scheduler}`;
    throw new DomainError('unknown', 'allocation.no_ready_room', message);
  }

  async allocate(wish: AllocationWish): Promise<Allocation> {
    this.wishes.push(wish);
    return { ...allocation, scheduler: wish.scheduler };
  }

  async getAllocation(scheduler: string, id: string): Promise<Allocation> {
    return { ...allocation, scheduler, id };
  }

  async confirm(scheduler: string, id: string): Promise<Allocation> {
    return { ...allocation, scheduler, id, state: 'confirmed', expiresAtMs: null };
  }

  async release(scheduler: string, id: string): Promise<Allocation> {
    return { ...allocation, scheduler, id, state: 'released', expiresAtMs: null };
  }
}

const allocation: Allocation = {
  id: 'allocation-1',
  scheduler: 'arena',
  room: 'arena-7',
  version: 'v2.1.0',
  address,
  state: 'pending',
  allocatedAtMs: Date.UTC(2026, 4, 1, 10),
  expiresAtMs: Date.UTC(2026, 4, 1, 10, 5),
};

export function fakeRoomsFeatures() {
  const [pings, events] = [new FakePings(), new FakeEvents()];
  const [addresses, allocations] = [new FakeAddresses(), new FakeAllocations()];
  return {
    pings,
    events,
    addresses,
    allocations,
    providers: [
      { provide: RoomPingsService, useValue: pings },
      { provide: EventForwardingService, useValue: events },
      { provide: RoomAddressesService, useValue: addresses },
      { provide: RoomAllocationsService, useValue: allocations },
      { provide: RoomStreamsService, useValue: {} },
      { provide: RoomsApiOptions, useValue: { maxMetadataBytes: 2_000 } satisfies RoomsApiOptions },
    ],
  };
}
