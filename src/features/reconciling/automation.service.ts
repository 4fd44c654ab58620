import { Injectable } from '@nestjs/common';
import { DomainError } from '../../domain/errors';
import { schedulerNotFound } from '../../domain/scheduler/scheduler-not-found';
import { SchedulerStore, type PausedAutomation } from '../../ports/scheduler-store';
import { WakeUps } from '../../ports/wake-ups';

/** As in a scheduler's row, and in every record of its health cycles. Characters. */
const longestReason = 500;

/**
 * Stops what Maestro does with a scheduler's rooms by itself, and lets it go on: adding and removing, rollouts and rollbacks, and
 * the removal of rooms that are over. What somebody orders is done all the same, and what an operation has begun comes to its end.
 */
@Injectable()
export class AutomationService {
  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly wakeUps: WakeUps,
  ) {}

  /** Null while it runs. @throws DomainError `scheduler.not_found`. */
  async findPause(name: string): Promise<PausedAutomation | null> {
    const automation = await this.schedulers.readAutomation(name);
    if (automation === null) throw schedulerNotFound(name);
    return automation.paused;
  }

  /**
   * Paused once more, it is paused since the first time, and by the last one.
   * @throws DomainError `scheduler.not_found`, `automation.invalid_reason` (invalid_argument).
   */
  async pauseAutomation(name: string, pause: Omit<PausedAutomation, 'since'>): Promise<void> {
    if (pause.reason.length > longestReason) {
      throw new DomainError(
        'invalid_argument',
        'automation.invalid_reason',
        `the reason of a pause may have ${longestReason} characters, and has ${pause.reason.length}`,
      );
    }
    if (!(await this.schedulers.pauseAutomation(name, pause))) throw schedulerNotFound(name);
    // So that those who ask what the scheduler does hear of it.
    await this.wakeUps.ring('health', name);
  }

  /** Its rooms are looked at once. Idempotent. @throws DomainError `scheduler.not_found`. */
  async resumeAutomation(name: string): Promise<void> {
    if (!(await this.schedulers.resumeAutomation(name))) throw schedulerNotFound(name);
    await this.wakeUps.ring('health', name);
  }
}
