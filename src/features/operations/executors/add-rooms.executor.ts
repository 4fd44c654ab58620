import { Injectable } from '@nestjs/common';
import { DomainError, mayPassLater, messageOf } from '../../../domain/errors';
import { asClause, counted } from '../../../domain/phrases';
import type { Room, RoomStatus } from '../../../domain/room/room';
import { roomName } from '../../../domain/room/room-name';
import type { Scheduler } from '../../../domain/scheduler/scheduler';
import { schedulerNotFound } from '../../../domain/scheduler/scheduler-not-found';
import { Metrics } from '../../../ports/metrics';
import { RoomStore } from '../../../ports/room-store';
import { RoomLifecycle, type EndedRooms } from '../../rooms/room-lifecycle';
import { Executor, type Execution, type ExecutionResult } from '../executor';
import { SchedulerPlaces } from '../scheduler-places';

export class AddRoomsOptions {
  /** Rooms of one operation at most; v10 1,000. */
  readonly limit!: number;
  /** Rooms that start side by side; v10 40. */
  readonly batchSize!: number;
}

/** Different reasons that go into the history at most. */
const reasonsShown = 3;

const isEnding: ReadonlySet<RoomStatus> = new Set(['terminating', 'terminated', 'error']);

/** Rooms that end between two looks at the signal, when a canceled order is undone. */
const roomsPerStep = 100;

/**
 * Starts rooms, so many side by side. One that cannot start is told and fails nobody else; where more fail than start, the
 * operation fails. Where they have no place to start in, each of them fails of that: else nothing would slow the next orders down.
 *
 * What becomes of the rooms that did start: those of a *canceled* operation end, because somebody said that they are not wanted
 * (but for those where a match has begun). Those of a *failed* one stay. v10's documents promise otherwise, and its program
 * keeps them: they are wanted, as the order says, and the next health cycle would start as many again at once.
 */
@Injectable()
export class AddRoomsExecutor extends Executor<'add_rooms'> {
  readonly definition = 'add_rooms';
  readonly steps = ['choose rooms', 'find place', 'start rooms', 'rollback: end rooms'];

  constructor(
    private readonly rooms: RoomStore,
    private readonly lifecycle: RoomLifecycle,
    private readonly places: SchedulerPlaces,
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
    if (scheduler === null) throw schedulerNotFound(name, 'error fetching scheduler from storage: ');
    const { rooms: existing } = await this.rooms.readFleet(name);
    const taken = new Set(existing.map((room) => room.id));
    const ids = await execution.step('choose rooms', () => this.resolveIds(execution, taken));
    const place = await execution.step('find place', () => this.findPlace(execution, scheduler, ids));
    if (place.made !== null) await execution.record(place.made);
    const failed = new Map(Object.entries((execution.progress['failed'] ?? {}) as Record<string, string>));
    for (let start = 0; start < ids.length; start += this.options.batchSize) {
      const batch = ids.slice(start, start + this.options.batchSize).filter((id) => !failed.has(id));
      const away = await execution.step('start rooms', async () => {
        let unavailable: DomainError | null = null;
        const started = await Promise.allSettled(
          batch.map((id) =>
            this.lifecycle.startRoom({
              scheduler,
              id,
              operationId: execution.operation.id,
              validation: false,
              ...(place.refused === undefined ? {} : { impossible: place.refused }),
            }),
          ),
        );
        const failedBefore = failed.size;
        for (const [place, each] of started.entries()) {
          if (each.status === 'fulfilled') {
            if (each.value === 'ended_before') failed.set(batch[place]!, 'it ended before it had been started');
          } else if (each.reason instanceof DomainError && mayPassLater(each.reason)) {
            unavailable = each.reason;
          } else {
            failed.set(batch[place]!, asClause(messageOf(each.reason)));
          }
        }
        // A resumed run must not take the end of these for a success.
        if (failed.size > failedBefore) {
          await execution.saveProgress({ roomIds: ids, failed: Object.fromEntries(failed) });
        }
        return unavailable;
      });
      // What could not start because something is away, or refuses this process, starts later: the same rooms, by their ids.
      if (away !== null) {
        await this.lifecycle.notePutOff(name, ids, away);
        throw away;
      }
    }
    return this.conclude(execution, ids.length, [...failed.values()]);
  }

  override async rollback(execution: Execution<'add_rooms'>): Promise<void> {
    const chosen = execution.progress['roomIds'] as string[] | undefined;
    if (chosen === undefined) return;
    const name = execution.operation.scheduler;
    const { rooms } = await this.rooms.readFleet(name);
    const running = new Set(rooms.filter(isRunning).map((room) => room.id));
    const started = chosen.filter((id) => running.has(id));
    if (execution.rollback === 'error') {
      if (started.length > 0) await execution.record(keptLine(started.length));
      return;
    }
    let removed = 0;
    const spared: string[] = [];
    const failed: EndedRooms['failed'] = [];
    let away: EndedRooms['away'] = null;
    // Also those that nobody knows: a start that is still on its way must not come to anything.
    for (let start = 0; start < chosen.length; start += roomsPerStep) {
      const ids = chosen.slice(start, start + roomsPerStep);
      const ended = await execution.step('rollback: end rooms', () => this.lifecycle.endRooms(name, ids, 'scale_down'));
      removed += ended.removed.filter((id) => running.has(id)).length;
      spared.push(...ended.spared);
      failed.push(...ended.failed);
      away ??= ended.away;
    }
    if (away !== null) throw away;
    if (spared.length > 0) await execution.record(`left alone, a match runs there: [${spared.join(' ')}]`);
    await execution.record(`removed ${removed} of the ${counted(started.length, 'room')} that had started`);
    if (failed.length > 0) {
      throw new DomainError(
        'internal',
        'operation.rooms_not_removed',
        `${counted(failed.length, 'room')} could not be removed: ${asClause(messageOf(failed[0]!.error))}`,
      );
    }
  }

  /**
   * `refused`: there is none for them, whatever is tried again.
   * @throws what may pass, and that the scheduler goes: nothing is recorded of one that is gone, or another one by now.
   */
  private async findPlace(
    execution: Execution<'add_rooms'>,
    scheduler: Scheduler,
    ids: readonly string[],
  ): Promise<{ made: string | null; refused?: { because: unknown } }> {
    try {
      return { made: await this.places.ensure(scheduler, execution.operation.id) };
    } catch (error) {
      if (error instanceof DomainError && error.code === 'scheduler.terminating') throw error;
      if (!mayPassLater(error)) return { made: null, refused: { because: error } };
      // Those that an earlier attempt recorded.
      await this.lifecycle.notePutOff(scheduler.name, ids, error);
      throw error;
    }
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
    const reasons = byFrequency(failures);
    for (const reason of reasons.slice(0, reasonsShown)) await execution.record(`error adding room: ${reason}`);
    if (failures.length > succeeded) {
      throw new DomainError(
        'internal',
        'operation.more_failed_than_succeeded',
        `more rooms failed than succeeded, errors: ${failures.length} and successes: ${succeeded} of amount: ${amount}; ${mostly(reasons)}`,
      );
    }
    await execution.record(`added ${counted(succeeded, 'room')}`);
    return { lookAgain: failures.length === 0 ? 'now' : 'later' };
  }
}

/** There is an instance of it, so far as anybody heard: a record alone is of a start that failed, or was not come to. */
function isRunning({ status, instance }: Room): boolean {
  return !isEnding.has(status) && instance.status !== 'unknown';
}

function keptLine(started: number): string {
  return started === 1
    ? 'kept the room that started: it is wanted'
    : `kept the ${started} rooms that started: they are wanted`;
}

/** Each reason once, the most frequent first. */
function byFrequency(reasons: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts.keys()].sort((a, b) => counts.get(b)! - counts.get(a)!);
}

function mostly([first = 'unknown', ...others]: readonly string[]): string {
  return `${others.length > 0 ? 'most often' : 'because'}: ${first}`;
}
