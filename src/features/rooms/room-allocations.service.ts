import { Injectable } from '@nestjs/common';
import { DomainError, messageOf } from '../../domain/errors';
import type { RoomAddress } from '../../domain/room/room';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { RoomStore, type AllocationOutcome } from '../../ports/room-store';
import { SchedulerSettingsCache } from '../schedulers/scheduler-settings';

export class RoomAllocationsOptions {
  /** A ready room that has said nothing for longer is not given out. Milliseconds. */
  readonly pingTimeoutMs!: number;
  /** How long a room that was found without a record is not given out (`AllocationLimits`). Milliseconds. */
  readonly adoptionHoldMs!: number;
}

/** Gives ready rooms to matchmakers, each to one caller. */
@Injectable()
export class RoomAllocationsService {
  constructor(
    private readonly settings: SchedulerSettingsCache,
    private readonly rooms: RoomStore,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: RoomAllocationsOptions,
  ) {}

  /**
   * One round trip to the store when there is a room. Every failure is of the kind that v10 answers, `unknown`.
   * @throws DomainError `allocation.no_ready_room`, also for a scheduler that does not exist; `allocation.rebuilding`;
   *         `allocation.store_error`, after which a room may have been given out unheard until its allocation is too old.
   */
  async allocateRoom(scheduler: string): Promise<{ room: string; address: RoomAddress }> {
    const answer = await this.askStore(scheduler);
    switch (answer.outcome) {
      case 'allocated':
        this.metrics.allocationAnswered(scheduler, 'allocated');
        return { room: answer.room, address: answer.address };
      case 'no_ready_room':
        return this.fail(scheduler, 'no_ready_room', `no ready rooms available for scheduler ${scheduler}`);
      case 'rebuilding':
        return this.fail(
          scheduler,
          'rebuilding',
          `the rooms of scheduler ${scheduler} are being found again after their state was lost; try again`,
        );
    }
  }

  private async askStore(scheduler: string): Promise<AllocationOutcome> {
    try {
      return await this.rooms.allocateRoom(scheduler, this.options);
    } catch (error) {
      this.logger.warn({ scheduler_name: scheduler, err: messageOf(error) }, 'no room could be allocated');
      return this.fail(
        scheduler,
        'store_error',
        `no room of scheduler ${scheduler} could be allocated; try again`,
        error,
      );
    }
  }

  private async fail(
    scheduler: string,
    reason: 'no_ready_room' | 'rebuilding' | 'store_error',
    message: string,
    cause?: unknown,
  ): Promise<never> {
    const isKnown = await this.isKnown(scheduler);
    this.metrics.allocationAnswered(scheduler, isKnown ? reason : 'unknown_scheduler');
    throw new DomainError('unknown', `allocation.${reason}`, message, cause === undefined ? {} : { cause });
  }

  /** Only for the count: a name that came from outside must not become a label. */
  private async isKnown(scheduler: string): Promise<boolean> {
    try {
      return (await this.settings.find(scheduler)) !== null;
    } catch {
      return false;
    }
  }
}
