import { Injectable } from '@nestjs/common';
import { DomainError, messageOf } from '../../../domain/errors';
import { roomName } from '../../../domain/room/room-name';
import type { Scheduler } from '../../../domain/scheduler/scheduler';
import { Metrics } from '../../../ports/metrics';
import { RoomStore } from '../../../ports/room-store';
import { RoomLifecycle } from '../../rooms/room-lifecycle';
import { Executor, type Execution, type ExecutionResult } from '../executor';

export class AddRoomsOptions {
  /** Rooms of one operation at most; v10 1,000. */
  readonly limit!: number;
  /** Rooms that start side by side; v10 40. */
  readonly batchSize!: number;
}

/** Different reasons that go into the history at most. */
const reasonsShown = 3;

@Injectable()
export class AddRoomsExecutor extends Executor<'add_rooms'> {
  readonly definition = 'add_rooms';

  constructor(
    private readonly rooms: RoomStore,
    private readonly lifecycle: RoomLifecycle,
    private readonly metrics: Metrics,
    private readonly options: AddRoomsOptions,
  ) {
    super();
  }

  override async execute(
    execution: Execution<'add_rooms'>,
    scheduler: Scheduler | null,
  ): Promise<ExecutionResult<'add_rooms'>> {
    const name = execution.operation.scheduler;
    if (scheduler === null) {
      throw new DomainError(
        'not_found',
        'scheduler.not_found',
        `error fetching scheduler from storage: scheduler ${name} not found`,
      );
    }
    const { rooms: existing } = await this.rooms.readFleet(name);
    const ids = await this.resolveIds(execution, new Set(existing.map((room) => room.id)));
    const failed = new Map(Object.entries((execution.progress['failed'] ?? {}) as Record<string, string>));
    let away: DomainError | undefined;
    const takenPorts = new Set(existing.flatMap((room) => room.instance.address?.ports.map(({ port }) => port) ?? []));
    for (let start = 0; start < ids.length; start += this.options.batchSize) {
      execution.signal.throwIfAborted();
      const batch = ids.slice(start, start + this.options.batchSize).filter((id) => !failed.has(id));
      const started = await Promise.allSettled(
        batch.map((id) =>
          this.lifecycle.startRoom({
            scheduler,
            id,
            operationId: execution.operation.id,
            validation: false,
            takenPorts,
          }),
        ),
      );
      const failedBefore = failed.size;
      for (const [place, each] of started.entries()) {
        if (each.status === 'fulfilled') {
          if (each.value === 'ended_before') failed.set(batch[place]!, 'it ended before this operation was resumed');
        } else if (each.reason instanceof DomainError && each.reason.kind === 'unavailable') {
          away = each.reason;
        } else {
          failed.set(batch[place]!, messageOf(each.reason));
        }
      }
      // A resumed run must not take the end of these for a success.
      if (failed.size > failedBefore) {
        await execution.saveProgress({ roomIds: ids, failed: Object.fromEntries(failed) });
      }
    }
    // What could not start because something is away starts when it is back: the same rooms, by their stored ids.
    if (away !== undefined) throw away;
    return this.conclude(execution, ids.length, [...failed.values()]);
  }

  /** Which rooms this operation starts is decided once: a resumed run starts the same ones, never N more. */
  private async resolveIds(execution: Execution<'add_rooms'>, taken: Set<string>): Promise<string[]> {
    const stored = execution.progress['roomIds'];
    if (Array.isArray(stored)) return stored as string[];
    const amount = Math.min(execution.operation.input.amount, this.options.limit);
    const ids = new Set<string>();
    while (ids.size < amount) {
      const id = roomName(execution.operation.scheduler, Math.random);
      if (!taken.has(id)) ids.add(id);
    }
    const roomIds = [...ids];
    await execution.saveProgress({ roomIds });
    return roomIds;
  }

  private async conclude(
    execution: Execution<'add_rooms'>,
    amount: number,
    failures: string[],
  ): Promise<ExecutionResult<'add_rooms'>> {
    for (let count = 0; count < failures.length; count++)
      this.metrics.roomCreationFailed(execution.operation.scheduler);
    const succeeded = amount - failures.length;
    const reasons = [...new Set(failures)];
    for (const reason of reasons.slice(0, reasonsShown)) await execution.record(`error adding room: ${reason}`);
    if (failures.length > succeeded) {
      throw new DomainError(
        'internal',
        'operation.more_failed_than_succeeded',
        `more rooms failed than succeeded, errors: ${failures.length} and successes: ${succeeded} of amount: ${amount}`,
      );
    }
    await execution.record(`added ${succeeded} rooms`);
    return { lookAgain: failures.length === 0 ? 'now' : 'later' };
  }
}
