import { Injectable } from '@nestjs/common';
import { DomainError, messageOf } from '../../domain/errors';
import type { Room, RoomAddress } from '../../domain/room/room';
import { Logger } from '../../ports/logger';
import { RoomStore } from '../../ports/room-store';

/** Where players connect to. */
@Injectable()
export class RoomAddressesService {
  constructor(
    private readonly rooms: RoomStore,
    private readonly logger: Logger,
  ) {}

  /**
   * Every failure is of the kind that v10 answers, `unknown`.
   * @throws DomainError `room.not_found`, also for a scheduler that does not exist; `room.no_address`, while the runtime has
   *         not said where it runs; `room.unreadable`.
   */
  async getAddress(scheduler: string, room: string): Promise<RoomAddress> {
    const found = await this.readRoom(scheduler, room);
    if (found === null) {
      throw new DomainError('unknown', 'room.not_found', `room ${room} not found in scheduler ${scheduler}`);
    }
    if (found.instance.address === null) {
      throw new DomainError('unknown', 'room.no_address', `room ${room} of scheduler ${scheduler} has no address yet`);
    }
    return found.instance.address;
  }

  private async readRoom(scheduler: string, room: string): Promise<Room | null> {
    try {
      return await this.rooms.getRoom(scheduler, room);
    } catch (error) {
      this.logger.warn(
        { scheduler_name: scheduler, room_id: room, err: messageOf(error) },
        'the address of a room could not be read',
      );
      const message = `room ${room} of scheduler ${scheduler} could not be read; try again`;
      throw new DomainError('unknown', 'room.unreadable', message, { cause: error });
    }
  }
}
