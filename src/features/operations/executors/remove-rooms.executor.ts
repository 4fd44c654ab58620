import { Injectable } from '@nestjs/common';
import { DomainError, messageOf } from '../../../domain/errors';
import { asClause, counted } from '../../../domain/phrases';
import { Logger } from '../../../ports/logger';
import { Metrics } from '../../../ports/metrics';
import { HealthCycle } from '../../reconciling/health-cycle';
import { RoomLifecycle, type EndedRooms } from '../../rooms/room-lifecycle';
import { Executor, type Execution, type ExecutionResult } from '../executor';

/** Rooms that end between two looks at the signal. */
const roomsPerStep = 100;

/**
 * Ends the rooms that the operation names. Rooms that are gone already are fine; those with a match are left alone, unless an
 * operator named them, or the time is over that their scheduler gives a match. What was told to end cannot be told to stay: stopped half-way, it says which rooms went.
 */
@Injectable()
export class RemoveRoomsExecutor extends Executor<'remove_rooms'> {
  readonly definition = 'remove_rooms';
  readonly steps = ['end rooms'];

  constructor(
    private readonly lifecycle: RoomLifecycle,
    private readonly healthCycle: HealthCycle,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
  ) {
    super();
  }

  override async execute(execution: Execution<'remove_rooms'>): Promise<ExecutionResult<'remove_rooms'>> {
    const { input, scheduler } = execution.operation;
    execution.signal.throwIfAborted();
    // A match may have begun since the rooms were chosen: only one that is still silent beyond doubt goes with its room.
    const expired = input.reason === 'expired_room' ? await this.healthCycle.judgeExpired(scheduler) : undefined;
    // Those that an earlier attempt ended are not asked again: they need their time to go.
    const removed = [...((execution.progress['removed'] ?? []) as string[])];
    const wentBefore = new Set(removed);
    const left = input.roomIds.filter((id) => !wentBefore.has(id));
    const ended: EndedRooms = { removed, spared: [], failed: [], away: null };
    for (let start = 0; start < left.length; start += roomsPerStep) {
      const ids = left.slice(start, start + roomsPerStep);
      await execution.step('end rooms', async () => {
        const batch = await this.lifecycle.endRooms(scheduler, ids, input.reason, expired);
        this.tellOfLate(scheduler, batch.removed, expired?.late);
        ended.removed.push(...batch.removed);
        ended.spared.push(...batch.spared);
        ended.failed.push(...batch.failed);
        ended.away ??= batch.away;
        await execution.saveProgress({ removed: ended.removed });
      });
    }
    if (ended.away !== null) throw ended.away;
    for (const { id, error } of ended.failed) {
      this.metrics.roomDeletionFailed(scheduler);
      await execution.record(`error removing room "${id}". Reason => ${asClause(messageOf(error))}`);
    }
    if (ended.spared.length > 0) await execution.record(`left alone, a match runs there: [${ended.spared.join(' ')}]`);
    if (ended.failed.length > 0) {
      throw new DomainError(
        'internal',
        'operation.rooms_not_removed',
        `${ended.failed.length} of ${counted(input.roomIds.length, 'room')} could not be removed: ${asClause(messageOf(ended.failed[0]!.error))}`,
      );
    }
    const went = new Set(ended.removed);
    await execution.record(removedLine(input.roomIds.filter((id) => went.has(id))));
    if (input.reason === 'drain_deadline') {
      await execution.record('the drain deadline that the scheduler states was over, so no match kept a room');
    }
    if (input.reason === 'deleted_by_name') {
      const [them, were] = input.roomIds.length === 1 ? ['room', 'was'] : ['rooms', 'were'];
      const kept = input.roomIds.length === 1 ? 'it' : 'them';
      await execution.record(`the ${them} ${were} named by an operator, so no match kept ${kept}`);
      // Nobody looked before: what is missing now is to be replaced while they go.
      return { lookAgain: 'now' };
    }
    // No look at once: the rooms are only going now, and each rings when it is gone. Those that were spared do not ring.
    return ended.spared.length > 0 ? { lookAgain: 'later' } : {};
  }

  /** One line for all of them: a fleet none of whose rooms comes up is not to be found out from its numbers. */
  private tellOfLate(
    scheduler: string,
    removed: readonly string[],
    late: ReadonlyMap<string, string> = new Map(),
  ): void {
    const ids = removed.filter((id) => late.has(id));
    const last = ids.at(-1);
    if (last === undefined) return;
    this.logger.warn(
      { scheduler_name: scheduler, rooms: ids.length, room_id: last, reason: late.get(last) },
      'rooms were removed because they did not come up in time; the reason is that of the last one',
    );
  }

  override async rollback(execution: Execution<'remove_rooms'>): Promise<void> {
    await execution.record(removedLine((execution.progress['removed'] ?? []) as string[]));
  }
}

function removedLine(ids: string[]): string {
  return `removed rooms: [${ids.join(' ')}]`;
}
