import { Injectable } from '@nestjs/common';
import { DomainError, messageOf } from '../../../domain/errors';
import { Metrics } from '../../../ports/metrics';
import { HealthCycle } from '../../reconciling/health-cycle';
import { RoomLifecycle } from '../../rooms/room-lifecycle';
import { Executor, type Execution, type ExecutionResult } from '../executor';

/** Ends the rooms that the operation names. Rooms that are gone already are fine; those with a match are left alone. */
@Injectable()
export class RemoveRoomsExecutor extends Executor<'remove_rooms'> {
  readonly definition = 'remove_rooms';

  constructor(
    private readonly lifecycle: RoomLifecycle,
    private readonly healthCycle: HealthCycle,
    private readonly metrics: Metrics,
  ) {
    super();
  }

  override async execute(execution: Execution<'remove_rooms'>): Promise<ExecutionResult<'remove_rooms'>> {
    const { input, scheduler } = execution.operation;
    execution.signal.throwIfAborted();
    // A match may have begun since the rooms were chosen: only one that is still silent beyond doubt goes with its room.
    const silent = input.reason === 'expired_room' ? await this.healthCycle.findSilentMatches(scheduler) : undefined;
    const ended = await this.lifecycle.endRooms(scheduler, input.roomIds, input.reason, silent);
    const away = ended.failed.find(({ error }) => error instanceof DomainError && error.kind === 'unavailable');
    if (away !== undefined) throw away.error;
    for (const { id, error } of ended.failed) {
      this.metrics.roomDeletionFailed(scheduler);
      await execution.record(`error removing room "${id}". Reason => ${messageOf(error)}`);
    }
    if (ended.spared.length > 0) await execution.record(`left alone, a match runs there: [${ended.spared.join(' ')}]`);
    await execution.record(`removed rooms: [${ended.removed.join(' ')}]`);
    if (ended.failed.length > 0) {
      throw new DomainError(
        'internal',
        'operation.rooms_not_removed',
        `${ended.failed.length} of ${input.roomIds.length} rooms could not be removed`,
      );
    }
    // No look at once: the rooms are only going now, and each rings when it is gone. Those that were spared do not ring.
    return ended.spared.length > 0 ? { lookAgain: 'later' } : {};
  }
}
