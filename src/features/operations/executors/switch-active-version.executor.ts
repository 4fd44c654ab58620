import { Injectable } from '@nestjs/common';
import { DomainError } from '../../../domain/errors';
import type { Scheduler } from '../../../domain/scheduler/scheduler';
import { SchedulerStore } from '../../../ports/scheduler-store';
import { Executor, type Execution, type ExecutionResult } from '../executor';

/**
 * Makes a stored version the active one, with everything it says. The switch is part of the operation's end, so one that was
 * canceled, or failed, has switched nothing. No room is touched: health cycles replace those of another major version.
 */
@Injectable()
export class SwitchActiveVersionExecutor extends Executor<'switch_active_version'> {
  readonly definition = 'switch_active_version';
  readonly steps = ['undo_state'];

  constructor(private readonly schedulers: SchedulerStore) {
    super();
  }

  override async execute(
    execution: Execution<'switch_active_version'>,
    scheduler: Scheduler | null,
  ): Promise<ExecutionResult<'switch_active_version'>> {
    const { scheduler: name, input, actor } = execution.operation;
    // Nobody else than a health cycle orders one by itself, and only where rooms of the active version fail.
    const isRollback = actor === 'health_controller';
    if (scheduler === null) throw notFound(name);
    const { newActiveVersion: version } = input;
    if (version !== '' && (await this.schedulers.getScheduler(name, version)) === null) {
      // v10's line, which follows, names the scheduler only.
      await execution.record(`"${version}" is none of the versions of scheduler ${name}`);
      throw notFound(name);
    }
    return {
      alongside: async () => {
        if (!(await this.schedulers.activateVersion(name, version, { isRollback }))) throw notFound(name);
        return [];
      },
      lookAgain: 'now',
    };
  }

  /** The new version that ordered this switch left the scheduler `creating`. */
  override async rollback(execution: Execution<'switch_active_version'>, scheduler: Scheduler | null): Promise<void> {
    if (scheduler === null) return;
    const { scheduler: name } = execution.operation;
    await execution.step('undo_state', () => execution.commit(() => this.schedulers.setState(name, 'in-sync')));
  }

  override async abandon(scheduler: Scheduler | null): Promise<void> {
    if (scheduler !== null) await this.schedulers.setState(scheduler.name, 'in-sync');
  }
}

/** v10's words, whether the scheduler or only its version is unknown. */
function notFound(name: string): DomainError {
  return new DomainError(
    'not_found',
    'scheduler.version_not_found',
    `error fetching scheduler version to be switched to: scheduler ${name} not found`,
  );
}
