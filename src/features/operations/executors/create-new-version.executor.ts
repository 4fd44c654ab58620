import { Injectable } from '@nestjs/common';
import { DomainError, mayPassLater, messageOf } from '../../../domain/errors';
import type { Operation, RemovalReason } from '../../../domain/operation/operation';
import {
  afterAttempt,
  beginValidation,
  judgeValidation,
  validationRoomOf,
  type Validation,
  type ValidationFacts,
  type ValidationLimits,
  type ValidationStep,
} from '../../../domain/room/judge-validation';
import { roomName } from '../../../domain/room/room-name';
import { definitionChanges } from '../../../domain/scheduler/definition-changes';
import { bumpOf, nextVersion, type Bump } from '../../../domain/scheduler/next-version';
import { ignoredKeysRemarks } from '../../../domain/scheduler/reserved-keys';
import type { Scheduler } from '../../../domain/scheduler/scheduler';
import { OperationStore } from '../../../ports/operation-store';
import { RoomStore } from '../../../ports/room-store';
import { SchedulerStore } from '../../../ports/scheduler-store';
import { RoomLifecycle } from '../../rooms/room-lifecycle';
import { Executor, type Execution, type ExecutionResult, type ExecutionWait } from '../executor';
import { SchedulerPlaces } from '../scheduler-places';

export class CreateNewVersionOptions {
  readonly validation!: ValidationLimits;
}

type NewVersionExecution = Execution<'create_new_scheduler_version'>;

/** What the operation stores: decided once, so that a resumed run makes the same version. */
interface VersionChange {
  version: string;
  bump: Bump;
  /** The version that was active when the operation ran. */
  rollbackVersion: string;
  /** Null for a version whose rooms are the active one's too. */
  validation: Validation | null;
}

/** What may be slow besides the rooms themselves: their start, their removal, the pauses between attempts. Milliseconds. */
const slackPerAttemptMs = 60_000;

/**
 * Stores a new version, for a major one after a room of it has come up, and orders the switch to it. Whatever becomes of the
 * operation, and of its workers, no validation room outlives it, and a failure leaves versions and rooms as they were.
 */
@Injectable()
export class CreateNewVersionExecutor extends Executor<'create_new_scheduler_version'> {
  readonly definition = 'create_new_scheduler_version';
  readonly steps = ['begin', 'choose_room', 'start_room', 'judge_room', 'remove_room', 'undo_state', 'undo_room'];

  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly operations: OperationStore,
    private readonly rooms: RoomStore,
    private readonly lifecycle: RoomLifecycle,
    private readonly places: SchedulerPlaces,
    private readonly options: CreateNewVersionOptions,
  ) {
    super();
  }

  override extraTimeMs(): number {
    const { attempts, timeoutMs } = this.options.validation;
    return attempts * (timeoutMs + slackPerAttemptMs);
  }

  override async execute(
    execution: NewVersionExecution,
    scheduler: Scheduler | null,
  ): Promise<ExecutionResult<'create_new_scheduler_version'> | ExecutionWait> {
    if (scheduler === null || scheduler.state === 'terminating') throw goesAway(execution.operation.scheduler);
    const change = storedChange(execution) ?? (await execution.step('begin', () => this.begin(execution, scheduler)));
    if (change.validation !== null) {
      const wait = await this.validate(execution, scheduler, change, change.validation);
      if (wait !== null) return wait;
    }
    return { alongside: () => this.storeVersion(execution.operation, change) };
  }

  override async rollback(execution: NewVersionExecution, scheduler: Scheduler | null): Promise<void> {
    const name = execution.operation.scheduler;
    const change = storedChange(execution);
    if (change === null) return;
    // The state first: a runtime that stays away must not leave the scheduler `creating`.
    if (scheduler !== null) {
      await execution.step('undo_state', () => execution.commit(() => this.schedulers.setState(name, 'in-sync')));
    }
    const roomId = validationRoomOf(change.validation);
    if (roomId !== null) {
      await execution.step('undo_room', () => this.removeRoom(name, roomId, 'new_version_rollback'));
    }
  }

  override async abandon(scheduler: Scheduler | null): Promise<void> {
    if (scheduler !== null) await this.schedulers.setState(scheduler.name, 'in-sync');
  }

  private async begin(execution: NewVersionExecution, scheduler: Scheduler): Promise<VersionChange> {
    const { name, version: active, definition } = scheduler;
    const existing = (await this.schedulers.listVersions(name)).map(({ version }) => version);
    const bump = bumpOf(definitionChanges(definition, execution.operation.input.definition));
    const change: VersionChange = {
      version: nextVersion({ active, existing, bump }),
      bump,
      rollbackVersion: active,
      validation: bump === 'major' ? beginValidation(execution.ranForMs()) : null,
    };
    await execution.commit(async () => {
      if (!(await this.schedulers.setState(name, 'creating'))) throw goesAway(name);
      await execution.saveProgress({ ...change });
      if (change.validation !== null) {
        await execution.record(`major version detected (${change.version}), starting game room validation`);
      }
    });
    return change;
  }

  /** Goes on as far as it can without waiting. Null when a room of the version came up, and is removed. */
  private async validate(
    execution: NewVersionExecution,
    scheduler: Scheduler,
    change: VersionChange,
    stored: Validation,
  ): Promise<ExecutionWait | null> {
    const { validation: limits } = this.options;
    for (let validation = stored; ;) {
      const facts = await this.factsOf(execution, validation);
      const step = judgeValidation(validation, facts, limits);
      switch (step.next) {
        case 'wait':
          return { waitMs: step.waitMs };
        case 'conclude':
          if (step.passed) return null;
          throw noRoomCameUp(change, limits);
        case 'choose_room':
        case 'start_room':
        case 'judge_room':
        case 'remove_room':
          validation = await execution.step(step.next, () => this.take(execution, scheduler, change, step));
      }
    }
  }

  private async take(
    execution: NewVersionExecution,
    scheduler: Scheduler,
    change: VersionChange,
    step: Exclude<ValidationStep, { next: 'wait' | 'conclude' }>,
  ): Promise<Validation> {
    const { validation: limits } = this.options;
    const { attempt } = step;
    const save = (validation: Validation, event?: string): Promise<Validation> =>
      execution.commit(async () => {
        await execution.saveProgress({ ...change, validation });
        if (event !== undefined) await execution.record(`attempt ${attempt} of ${limits.attempts}: ${event}`);
        return validation;
      });
    switch (step.next) {
      case 'choose_room':
        return save({ phase: 'starting', attempt, roomId: await this.chooseRoom(scheduler.name) });
      case 'start_room': {
        const { roomId } = step;
        const failure = await this.startRoom(execution, scheduler, change, roomId);
        return failure === null
          ? save(
              { phase: 'watching', attempt, roomId, deadlineMs: execution.ranForMs() + limits.timeoutMs },
              `validation room ${roomId} started`,
            )
          : save(
              { phase: 'removing', attempt, roomId, passed: false },
              `validation room ${roomId} could not be started: ${failure}`,
            );
      }
      case 'judge_room': {
        const { roomId, passed, because } = step;
        return save(
          { phase: 'removing', attempt, roomId, passed },
          passed ? `validation success, ${because}` : `validation failed, ${because}`,
        );
      }
      case 'remove_room':
        await this.removeRoom(scheduler.name, step.roomId, 'new_version_validation_finished');
        return save(afterAttempt(step, limits, { nowMs: execution.ranForMs(), random: Math.random() }));
    }
  }

  private async chooseRoom(name: string): Promise<string> {
    const taken = new Set((await this.rooms.readFleet(name)).rooms.map(({ id }) => id));
    for (;;) {
      const id = roomName(name, Math.random);
      if (!taken.has(id)) return id;
    }
  }

  /** Why it could not be started; null when it was, whatever has become of it since. What is away is thrown: it is tried again. */
  private async startRoom(
    execution: NewVersionExecution,
    scheduler: Scheduler,
    { version }: VersionChange,
    id: string,
  ): Promise<string | null> {
    const { id: operationId, input } = execution.operation;
    const ofVersion = { ...scheduler, version, definition: input.definition };
    try {
      const made = await this.places.ensure(scheduler, operationId);
      if (made !== null) await execution.record(made);
      await this.lifecycle.startRoom({ scheduler: ofVersion, id, operationId, validation: true });
      return null;
    } catch (error) {
      if (!mayPassLater(error)) return messageOf(error);
      await this.lifecycle.notePutOff(scheduler.name, [id], error);
      throw error;
    }
  }

  private async factsOf(execution: NewVersionExecution, validation: Validation): Promise<ValidationFacts> {
    const name = execution.operation.scheduler;
    const nowMs = execution.ranForMs();
    if (validation.phase !== 'watching') return { nowMs, room: 'unread', endReason: '' };
    const { roomId } = validation;
    // A store that lost everything knows no room; once it is complete again, one that runs is there.
    const room = (await this.rooms.getRoom(name, roomId)) ?? ((await this.rooms.isSynced()) ? 'gone' : 'unread');
    if (room !== 'gone') return { nowMs, room, endReason: '' };
    const found = await this.rooms.getRoom(name, roomId);
    return { nowMs, room: found ?? 'gone', endReason: await this.rooms.getEndReason(name, roomId) };
  }

  /** Returns when its end is certain: nobody looks for it afterwards. */
  private async removeRoom(name: string, id: string, reason: RemovalReason): Promise<void> {
    const { failed } = await this.lifecycle.endRooms(name, [id], reason);
    if (failed[0] !== undefined) throw failed[0].error;
  }

  private async storeVersion(
    { scheduler: name, input, actor }: Operation<'create_new_scheduler_version'>,
    { version, rollbackVersion }: VersionChange,
  ): Promise<string[]> {
    // Keeps the row until the end: no deletion is accepted between this look and the new version.
    if (!(await this.schedulers.setState(name, 'creating'))) throw goesAway(name);
    await this.schedulers.addVersion(name, { version, definition: input.definition, rollbackVersion });
    const next = await this.operations.insert({
      scheduler: name,
      definition: 'switch_active_version',
      input: { newActiveVersion: version },
      actor,
      reason: `version ${version} is stored`,
    });
    if (next === null) {
      throw new DomainError(
        'aborted',
        'scheduler.version_change_open',
        `another version change of scheduler ${name} is open: version ${version} is not made`,
      );
    }
    return [...ignoredKeysRemarks(input.definition), `enqueued switch active version operation with id: ${next.id}`];
  }
}

function storedChange({ progress }: NewVersionExecution): VersionChange | null {
  return progress['version'] === undefined ? null : (progress as unknown as VersionChange);
}

function goesAway(name: string): DomainError {
  return new DomainError(
    'failed_precondition',
    'scheduler.terminating',
    `scheduler ${name} is deleted, or being deleted: it gets no new version`,
  );
}

function noRoomCameUp({ version, rollbackVersion }: VersionChange, { attempts }: ValidationLimits): DomainError {
  return new DomainError(
    'failed_precondition',
    'scheduler.validation_failed',
    `all ${attempts} validation attempts failed: version ${version} is not made, ${rollbackVersion} stays the active one`,
  );
}
