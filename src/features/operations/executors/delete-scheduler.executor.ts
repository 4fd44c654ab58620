import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../domain/errors';
import { counted } from '../../../domain/phrases';
import type { Scheduler } from '../../../domain/scheduler/scheduler';
import { schedulerNotFound } from '../../../domain/scheduler/scheduler-not-found';
import { terminationGraceMs } from '../../../domain/scheduler/termination-grace';
import { HostPortReservations } from '../../../ports/host-port-reservations';
import { OperationStore } from '../../../ports/operation-store';
import { RoomStore } from '../../../ports/room-store';
import { Runtime, type RuntimeInstance } from '../../../ports/runtime';
import { SchedulerStore } from '../../../ports/scheduler-store';
import { Executor, type Execution, type ExecutionResult, type ExecutionWait } from '../executor';

export class DeleteSchedulerOptions {
  /** How often the runtime is asked whether the instances are gone, in case the end of the last one was not heard. Milliseconds. */
  readonly pollIntervalMs!: number;
  /** How long instances may outlive their grace period before the deletion fails (and can be repeated). Milliseconds. */
  readonly patienceMs!: number;
}

/** Instances that are ended one by one: so many at a time. */
const parallelDeletions = 20;

/** What a deletion has stored of itself. */
interface DeletionProgress {
  /** Instances that the history was told of last. */
  left?: number;
  /** When it gives up, by `Execution.ranForMs`. Stored, so that no resume prolongs it. Milliseconds. */
  giveUpAtMs?: number;
  /** The history says that the place goes, and what runs there. */
  saidPlaceGoes?: true;
  /** The history says that the place stays. */
  saidPlaceStays?: true;
}

/**
 * Removes a scheduler: its instances with their grace period, then all its state but its operations, which clients poll.
 * It forgets nothing that still runs: with instances left at the deadline it fails, and the scheduler stays `terminating`.
 * While instances go it waits, and no worker with it; the scheduler is `terminating`, so nothing heals it meanwhile.
 */
@Injectable()
export class DeleteSchedulerExecutor extends Executor<'delete_scheduler'> {
  readonly definition = 'delete_scheduler';
  readonly steps = ['cancel pending work', 'delete in runtime', 'forget rooms', 'delete scheduler'];

  constructor(
    private readonly runtime: Runtime,
    private readonly schedulers: SchedulerStore,
    private readonly operations: OperationStore,
    private readonly rooms: RoomStore,
    private readonly hostPorts: HostPortReservations,
    private readonly options: DeleteSchedulerOptions,
  ) {
    super();
  }

  override async execute(
    execution: Execution<'delete_scheduler'>,
    scheduler: Scheduler | null,
  ): Promise<ExecutionResult<'delete_scheduler'> | ExecutionWait> {
    // An earlier attempt, or another deletion, came to its end: by now the name may belong to a new scheduler.
    if (scheduler === null) return { irrevocable: true };
    try {
      return await this.delete(execution, scheduler);
    } catch (error) {
      if (!(error instanceof DomainError) || error.code !== 'scheduler.not_found') throw error;
      return { irrevocable: true };
    }
  }

  /** @throws DomainError `scheduler.not_found` when the scheduler is gone; another one of its name is left alone. */
  private async delete(
    execution: Execution,
    scheduler: Scheduler,
  ): Promise<ExecutionResult<'delete_scheduler'> | ExecutionWait> {
    const { name } = scheduler;
    if (progressOf(execution).left === undefined) {
      // Rooms that an order from before adds while the instances go would only have to go too.
      await execution.step('cancel pending work', () =>
        execution.commit(async () => {
          await this.operations.cancelPending(name, 'canceled: the scheduler is being deleted');
          // After that: whoever cancels a creation that never ran takes the scheduler back, and a new one may be there.
          await this.assertStillThere(scheduler);
        }),
      );
    }
    await this.assertStillThere(scheduler);
    const left = await execution.step('delete in runtime', async () => {
      const place = await this.runtime.deleteScheduler(name);
      if (typeof place === 'object') await this.tellPlaceStays(execution, place.left);
      if (place === 'deleting') await this.tellPlaceGoes(execution, name);
      const instances = await this.runtime.listInstances(name);
      if (place !== 'deleting') await this.endInstances(name, instances);
      return instances.length;
    });
    if (left > 0) return this.waitForInstances(execution, scheduler, left);
    await this.assertStillThere(scheduler);
    await execution.step('forget rooms', async () => {
      await this.rooms.deleteScheduler(name);
      await this.hostPorts.releaseScheduler(name);
    });
    await execution.step('delete scheduler', () =>
      execution.commit(async () => {
        // Operations first, because that is the order in which others take these rows.
        await this.operations.cancelPending(name, 'canceled: the scheduler was deleted');
        if (!(await this.schedulers.deleteScheduler(scheduler))) throw schedulerNotFound(name);
      }),
    );
    return { irrevocable: true };
  }

  override extraTimeMs(scheduler: Scheduler | null): number {
    return scheduler === null ? 0 : terminationGraceMs(scheduler.definition.spec);
  }

  /** What was told to end cannot be told to stay: the scheduler is not opened again (`SchedulerStore.reopen`). */
  override async rollback(execution: Execution<'delete_scheduler'>, scheduler: Scheduler | null): Promise<void> {
    if (execution.rollback !== 'canceled' || scheduler === null) return;
    await execution.record('the scheduler stays `terminating`; delete it again to go on');
  }

  private async assertStillThere({ name, createdAt }: Scheduler): Promise<void> {
    const current = await this.schedulers.getScheduler(name);
    if (current?.createdAt.getTime() !== createdAt.getTime()) throw schedulerNotFound(name);
  }

  /** Ours may be in a place that is not: an adoption that stopped half-way took them, and not their namespace. */
  private async endInstances(name: string, instances: readonly RuntimeInstance[]): Promise<void> {
    const going = instances.filter(({ status }) => status !== 'terminating');
    for (let start = 0; start < going.length; start += parallelDeletions) {
      const batch = going.slice(start, start + parallelDeletions);
      await Promise.all(batch.map(({ id }) => this.runtime.deleteInstance(name, id, 'scheduler_deleted')));
    }
  }

  private async tellPlaceGoes(execution: Execution, name: string): Promise<void> {
    const progress = progressOf(execution);
    if (progress.saidPlaceGoes) return;
    const { rooms } = await this.rooms.countFleet(name);
    const withMatch = rooms.occupied + rooms.active + rooms.allocated;
    const matches = withMatch === 0 ? '' : `; ${counted(withMatch, 'room')} had a match, or a caller on the way to one`;
    await execution.record(`the ${this.runtime.placeWord} is deleted with everything in it${matches}`);
    await execution.saveProgress({ ...progress, saidPlaceGoes: true } satisfies DeletionProgress);
  }

  private async tellPlaceStays(execution: Execution, why: string): Promise<void> {
    const progress = progressOf(execution);
    if (progress.saidPlaceStays) return;
    await execution.record(why);
    await execution.saveProgress({ ...progress, saidPlaceStays: true } satisfies DeletionProgress);
  }

  private async waitForInstances(execution: Execution, scheduler: Scheduler, left: number): Promise<ExecutionWait> {
    const progress = progressOf(execution);
    const giveUpAtMs =
      progress.giveUpAtMs ??
      execution.ranForMs() + terminationGraceMs(scheduler.definition.spec) + this.options.patienceMs;
    // Once per halving: a large fleet must not fill the history.
    if (progress.left === undefined || left <= progress.left / 2) {
      await execution.record(`Waiting for instances to be deleted: ${left}`);
      await execution.saveProgress({ ...progress, left, giveUpAtMs } satisfies DeletionProgress);
    }
    if (execution.ranForMs() > giveUpAtMs) {
      throw new DomainError(
        'deadline_exceeded',
        'scheduler.instances_left',
        `error deleting scheduler: ${left} instances still run after their grace period; delete the scheduler again to go on`,
      );
    }
    return { waitMs: this.options.pollIntervalMs };
  }
}

function progressOf(execution: Execution): DeletionProgress {
  return execution.progress;
}
