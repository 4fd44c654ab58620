import { Injectable } from '@nestjs/common';
import { DomainError } from '../../domain/errors';
import { limitsOfScheduler, type RoomLimits } from '../../domain/room/classify-room';
import { explainRoomStatus } from '../../domain/room/explain-room-status';
import { parseRoomListing, type RoomListing, type RoomListingQuery } from '../../domain/room/parse-room-listing';
import type { Room, RoomTransition } from '../../domain/room/room';
import { selectRooms, type RoomPage } from '../../domain/room/select-rooms';
import type { Scheduler } from '../../domain/scheduler/scheduler';
import { schedulerNotFound } from '../../domain/scheduler/scheduler-not-found';
import { OperationStore } from '../../ports/operation-store';
import { RoomStore } from '../../ports/room-store';
import { SchedulerStore } from '../../ports/scheduler-store';
import { UnitOfWork } from '../../ports/unit-of-work';
import { WakeUps } from '../../ports/wake-ups';
import { OperationsService } from '../operations/operations.service';

export class FleetRoomsOptions {
  /** What the health cycle decides by. */
  readonly limits!: Omit<RoomLimits, 'drainDeadlineMs'>;
  /** For this long after it was found without a record, a room is not given to callers. Milliseconds. */
  readonly adoptionHoldMs!: number;
}

export interface ListedRooms extends RoomPage, Pick<RoomListing, 'page' | 'perPage'> {
  /** Rooms may be missing: their state was lost, and is not whole again. */
  rebuilding: boolean;
}

export interface RoomReport {
  room: Room;
  why: string[];
  /** Newest first. */
  transitions: RoomTransition[];
  metadata: Record<string, unknown> | null;
}

/** The rooms of a scheduler, for those who operate them. Reads never write. */
@Injectable()
export class FleetRoomsService {
  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly rooms: RoomStore,
    private readonly operationStore: OperationStore,
    private readonly operations: OperationsService,
    private readonly unitOfWork: UnitOfWork,
    private readonly wakeUps: WakeUps,
    private readonly options: FleetRoomsOptions,
  ) {}

  /** @throws DomainError `room.invalid_listing`, `scheduler.not_found`. */
  async listRooms(scheduler: string, query: RoomListingQuery): Promise<ListedRooms> {
    const listing = parseRoomListing(query);
    await this.getScheduler(scheduler);
    const fleet = await this.rooms.readFleet(scheduler);
    const { page, perPage } = listing;
    return { ...selectRooms(fleet.rooms, listing), page, perPage, rebuilding: fleet.rebuilding };
  }

  /** @throws DomainError `scheduler.not_found`, `room.not_found`, `room_store.rebuilding` (unavailable). */
  async getRoom(name: string, id: string): Promise<RoomReport> {
    const { definition, state } = await this.getScheduler(name);
    const [room, transitions, metadata, hearing] = await Promise.all([
      this.rooms.getRoom(name, id),
      this.rooms.getTransitions(name, id),
      this.rooms.getMetadata(name, id),
      this.rooms.readHearing(),
    ]);
    if (room === null) throw await this.roomNotFound(name, id);
    const { maxMatches } = definition.matchAllocation;
    const { adoptionHoldMs } = this.options;
    const limits = limitsOfScheduler(this.options.limits, definition);
    const isSchedulerTerminating = state === 'terminating';
    const facts = { room, transitions, maxMatches, ...hearing, adoptionHoldMs, limits, isSchedulerTerminating };
    const why = explainRoomStatus(facts);
    return { room, why, transitions, metadata };
  }

  /**
   * Orders the room's removal, whatever runs in it: it was named. A room that terminates already is ordered to go once more,
   * which asks its instance to end again: the same call, repeated because its answer was lost, does no harm, and it is the
   * way out for a room that does not go.
   * @throws DomainError as `getRoom`.
   */
  async deleteRoom(name: string, id: string): Promise<{ operationId: string }> {
    await this.findRoom(name, id);
    const operationId = await this.unitOfWork.run(async () => {
      // Neither before nor after a deletion of the scheduler slips an order for rooms that it will not find.
      await this.schedulers.decideAlone(name);
      await this.getScheduler(name);
      const operation = await this.operationStore.insert({
        scheduler: name,
        definition: 'remove_rooms',
        input: { amount: 1, roomIds: [id], reason: 'deleted_by_name' },
        actor: 'api',
        reason: `room ${id} was deleted by name, whatever runs in it`,
      });
      return operation!.id;
    });
    await this.operations.announce(name);
    return { operationId };
  }

  /**
   * The room gets no new players from now on, is replaced at once, and goes once it is empty. One that terminates already goes
   * sooner than that: nothing is left to do.
   * @throws DomainError as `getRoom`; `room.is_validation` (failed_precondition).
   */
  async drainRoom(name: string, id: string): Promise<void> {
    const { validation } = await this.findRoom(name, id);
    if (validation) {
      throw new DomainError(
        'failed_precondition',
        'room.is_validation',
        `room ${id} of scheduler ${name} only tries a version: no player is in it, and it goes with its operation; cancel that, or delete the room without draining it`,
      );
    }
    const outcomes = await this.rooms.drainRooms(name, [id], 'operator');
    if (outcomes.get(id) === 'unknown_room') throw await this.roomNotFound(name, id);
    await this.wakeUps.ring('health', name);
  }

  private async findRoom(name: string, id: string): Promise<Room> {
    await this.getScheduler(name);
    const room = await this.rooms.getRoom(name, id);
    if (room === null) throw await this.roomNotFound(name, id);
    return room;
  }

  private async getScheduler(name: string): Promise<Scheduler> {
    const scheduler = await this.schedulers.getScheduler(name);
    if (scheduler === null) throw schedulerNotFound(name);
    return scheduler;
  }

  /** While the store is being rebuilt, a room that runs may have no record: nobody is to hear that it is gone. */
  private async roomNotFound(name: string, id: string): Promise<DomainError> {
    return (await this.rooms.isSynced())
      ? new DomainError('not_found', 'room.not_found', `room ${id} not found in scheduler ${name}`)
      : new DomainError(
          'unavailable',
          'room_store.rebuilding',
          `room ${id} of scheduler ${name} is not known now: the rooms are being found again after their state was lost; try again`,
        );
  }
}
