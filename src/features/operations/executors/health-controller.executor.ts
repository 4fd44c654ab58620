import { Injectable } from '@nestjs/common';
import { counted } from '../../../domain/phrases';
import type { Scheduler } from '../../../domain/scheduler/scheduler';
import { schedulerNotFound } from '../../../domain/scheduler/scheduler-not-found';
import { RoomStore } from '../../../ports/room-store';
import { SchedulerStore } from '../../../ports/scheduler-store';
import { HealthCycle, type HealthWork } from '../../reconciling/health-cycle';
import { Executor, type Execution, type ExecutionResult } from '../executor';

type HealthExecution = Execution<'health_controller'>;

/**
 * Looks again while it holds the slot, so that what it does is decided on facts that nobody else changes meanwhile. First it
 * marks rooms, which may be repeated, and then orders operations as part of its end: whoever resumes it finds nothing ordered,
 * and plans on what is true then.
 */
@Injectable()
export class HealthControllerExecutor extends Executor<'health_controller'> {
  readonly definition = 'health_controller';
  readonly steps = ['plan', 'mark rooms'];

  constructor(
    private readonly healthCycle: HealthCycle,
    private readonly schedulers: SchedulerStore,
    private readonly rooms: RoomStore,
  ) {
    super();
  }

  override async execute(
    execution: HealthExecution,
    scheduler: Scheduler | null,
  ): Promise<ExecutionResult<'health_controller'>> {
    if (scheduler === null) throw schedulerNotFound(execution.operation.scheduler);
    const claimedBefore = await this.findClaimedBefore(execution);
    const work = await execution.step('plan', async () => {
      const current = await this.rememberClaims(execution, scheduler, claimedBefore);
      return this.plan(execution, current, claimedBefore);
    });
    const plan = work && (await execution.step('mark rooms', () => this.mark(execution, work)));
    const hasMarked = plan !== null && this.healthCycle.describeMarks(plan).length > 0;
    if (work === null || plan === null || !(hasMarked || this.healthCycle.hasOrders(plan))) {
      const tookAction = claimedBefore.length > 0;
      // Marks that every room refused: matches began there, and what follows from that is for the next look.
      return { input: { tookAction }, hidden: !tookAction, ...(work === null ? {} : { lookAgain: 'later' }) };
    }
    const done = { ...work, plan };
    return {
      input: { tookAction: true },
      alongside: async () => {
        const lines = await this.healthCycle.order(done);
        this.healthCycle.count(done);
        return lines;
      },
      // What was marked is due after a while, which only a look knows.
      ...(hasMarked ? { lookAgain: 'now' } : {}),
    };
  }

  /** Rooms that an earlier attempt claimed are a scale-down: the cooldown that it begins holds for what is planned now. */
  private async rememberClaims(
    execution: HealthExecution,
    scheduler: Scheduler,
    claimedBefore: readonly string[],
  ): Promise<Scheduler> {
    if (claimedBefore.length === 0) return scheduler;
    const lastDownscaleAt = new Date();
    await execution.commit(async () => {
      await this.schedulers.setLastDownscale(scheduler.name, lastDownscaleAt);
      await execution.record(`${counted(claimedBefore.length, 'room')} had been claimed when it was interrupted`);
    });
    return { ...scheduler, lastDownscaleAt };
  }

  /** What is about to be claimed is stored first, so that whoever resumes this knows that the fleet was scaled down. */
  private async plan(
    execution: HealthExecution,
    scheduler: Scheduler,
    claimedBefore: readonly string[],
  ): Promise<HealthWork | null> {
    const work = await this.healthCycle.prepare(scheduler, execution.signal);
    execution.signal.throwIfAborted();
    const claimIds = work?.plan.claimIds ?? [];
    if (claimIds.length > 0) await execution.saveProgress({ claiming: [...claimedBefore, ...claimIds] });
    return work;
  }

  /** The rooms first: a mark that is not told of is found at the next attempt, but a scale-down that never was holds the next one back. */
  private async mark(execution: HealthExecution, work: HealthWork): Promise<HealthWork['plan']> {
    const { name } = work.scheduler;
    try {
      const plan = await this.healthCycle.mark(work);
      const lines = this.healthCycle.describeMarks(plan);
      if (lines.length === 0) return plan;
      await execution.commit(async () => {
        if (plan.claimIds.length > 0) await this.schedulers.setLastDownscale(name, new Date());
        for (const line of lines) await execution.record(line);
      });
      return plan;
    } catch (error) {
      // It may be another worker's by now, who has planned already: nobody would look at what was marked after that.
      await this.healthCycle.lookAgain(name);
      throw error;
    }
  }

  private async findClaimedBefore(execution: HealthExecution): Promise<string[]> {
    const claiming = (execution.progress['claiming'] ?? []) as string[];
    if (claiming.length === 0) return [];
    const { rooms } = await this.rooms.readRooms(execution.operation.scheduler, claiming);
    return claiming.filter((id) => rooms.get(id)?.drainReason === 'scale_down');
  }
}
