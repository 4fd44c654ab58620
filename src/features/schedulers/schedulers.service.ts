import { Injectable } from '@nestjs/common';
import { DomainError } from '../../domain/errors';
import { versionChanges } from '../../domain/operation/operation';
import type { FleetCounts } from '../../domain/room/room';
import {
  isEmptyPatch,
  noChangeFound,
  patchDefinition,
  type DefinitionPatch,
} from '../../domain/scheduler/patch-definition';
import { versionChangeBlocks, type PlanBlock } from '../../domain/scheduler/plan-version-change';
import type { Scheduler, SchedulerDefinition, SchedulerVersion } from '../../domain/scheduler/scheduler';
import { toV10Entity } from '../../domain/scheduler/scheduler-entity';
import {
  validateScheduler,
  validateSchedulerDetailed,
  validationMessage,
} from '../../domain/scheduler/validate-scheduler';
import { OperationStore, type NewOperation } from '../../ports/operation-store';
import { RoomStore } from '../../ports/room-store';
import { SchedulerStore, type SchedulerFilter } from '../../ports/scheduler-store';
import { UnitOfWork } from '../../ports/unit-of-work';
import { OperationsService } from '../operations/operations.service';

const actor = 'api';

type NewVersion = Pick<NewOperation<'create_new_scheduler_version'>, 'definition' | 'input'>;
type Switch = Pick<NewOperation<'switch_active_version'>, 'definition' | 'input'>;

/** What a client asked for, in v10's words. */
interface VersionChangeRequest {
  /** How its refusals begin. */
  refusal: string;
  /** What is said when there is no such scheduler. */
  unknown: string;
  compose: (scheduler: Scheduler) => NewVersion | Switch;
}

/** A version change may end, and another one of a worker begin, between the look and the insert: so often at most. */
const versionChangeTries = 5;

@Injectable()
export class SchedulersService {
  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly rooms: RoomStore,
    private readonly operationStore: OperationStore,
    private readonly operations: OperationsService,
    private readonly unitOfWork: UnitOfWork,
  ) {}

  /**
   * Stores the scheduler and the operation that sets it up, in one transaction. Answers the row as inserted (`creating`).
   * @throws DomainError `scheduler.invalid` with every failing rule, `scheduler.exists`.
   */
  async createScheduler(name: string, definition: SchedulerDefinition): Promise<Scheduler> {
    assertValid(name, definition);
    const scheduler = await this.unitOfWork.run(async () => {
      const created = await this.schedulers.createScheduler(name, definition);
      if (created === 'exists') {
        throw new DomainError(
          'already_exists',
          'scheduler.exists',
          `error creating scheduler ${name}: name already exists`,
        );
      }
      const input = { scheduler: toV10Entity(created) };
      await this.operationStore.insert({ scheduler: name, definition: 'create_scheduler', input, actor });
      return created;
    });
    await this.operations.announce(name);
    return scheduler;
  }

  /** @throws DomainError `scheduler.not_found`, also for an unknown version (v10's text does not tell them apart). */
  async getScheduler(name: string, version?: string): Promise<Scheduler> {
    const scheduler = await this.schedulers.getScheduler(name, version);
    if (scheduler === null) throw schedulerNotFound(`scheduler ${name} not found`);
    return scheduler;
  }

  listSchedulers(filter: SchedulerFilter): Promise<Scheduler[]> {
    return this.schedulers.listSchedulers(filter);
  }

  /**
   * Newest first.
   * @throws DomainError `scheduler.not_found`.
   */
  async listVersions(name: string): Promise<SchedulerVersion[]> {
    const versions = await this.schedulers.listVersions(name);
    if (versions.length === 0) throw schedulerNotFound(`scheduler ${name} not found`);
    return versions;
  }

  /**
   * Orders a version with this definition; the worker numbers it and makes it the active one.
   * @throws DomainError `scheduler.invalid` with every failing rule, `scheduler.terminating`, `scheduler.version_change_open`,
   *   `scheduler.not_found`.
   */
  async createNewVersion(name: string, definition: SchedulerDefinition): Promise<{ operationId: string }> {
    assertValid(name, definition);
    return this.changeVersion(name, {
      refusal: 'cannot create new scheduler version',
      unknown: noSchedulerForVersion(name),
      compose: (scheduler) => newVersion(scheduler, definition),
    });
  }

  /**
   * Orders a version that differs from the active one by `patch`.
   * @throws DomainError `scheduler.no_change` (already_exists), `scheduler.terminating`, `scheduler.version_change_open`,
   *   `scheduler.not_found`, `scheduler.invalid_clear`, `scheduler.invalid` with every failing rule in v10's words for PATCH.
   */
  async patchScheduler(name: string, patch: DefinitionPatch): Promise<{ operationId: string }> {
    if (isEmptyPatch(patch)) throw new DomainError('already_exists', 'scheduler.no_change', noChangeFound(name));
    return this.changeVersion(name, {
      refusal: 'cannot patch scheduler',
      unknown: noSchedulerForVersion(name),
      compose: (scheduler) => {
        const definition = patchDefinition(scheduler.definition, patch);
        assertValidPatched(name, definition);
        return newVersion(scheduler, definition);
      },
    });
  }

  /**
   * Orders a switch to a version; empty means the newest. An unknown one is accepted, and its operation ends in error (v10).
   * @throws DomainError `scheduler.terminating`, `scheduler.version_change_open`, `scheduler.not_found`.
   */
  switchActiveVersion(name: string, version: string): Promise<{ operationId: string }> {
    return this.changeVersion(name, {
      refusal: 'cannot switch active version',
      unknown: `scheduler ${name} not found`,
      compose: () => ({ definition: 'switch_active_version', input: { newActiveVersion: version } }),
    });
  }

  /**
   * Accepts a deletion: the scheduler shows `terminating` from here on, and a version change that has not ended is canceled.
   * Repeating it answers the operation that runs.
   * @throws DomainError `scheduler.not_found`.
   */
  async deleteScheduler(name: string): Promise<{ operationId: string }> {
    const operationId = await this.unitOfWork.run(async () => {
      await this.schedulers.decideAlone(name);
      if ((await this.schedulers.getScheduler(name)) === null) {
        throw schedulerNotFound(
          `no scheduler found, can not delete nonexistent scheduler: scheduler ${name} not found`,
        );
      }
      // Before the scheduler's row is written, because that is the order in which a worker's transactions take the two.
      await this.cancelVersionChange(name);
      await this.schedulers.setState(name, 'terminating');
      const running = await this.operationStore.findOpen(name, ['delete_scheduler']);
      if (running !== null && running.cancelRequestedAt === null) return running.id;
      const inserted = await this.operationStore.insert({
        scheduler: name,
        definition: 'delete_scheduler',
        input: {},
        actor,
      });
      return inserted!.id;
    });
    await this.operations.announce(name);
    return { operationId };
  }

  /** Every scheduler of a game (all games without one) with its rooms by status. */
  async describeFleets(game?: string): Promise<{ scheduler: Scheduler; counts: FleetCounts }[]> {
    const schedulers = await this.schedulers.listSchedulers(game === undefined ? {} : { game });
    return Promise.all(
      schedulers.map(async (scheduler) => ({ scheduler, counts: await this.rooms.countFleet(scheduler.name) })),
    );
  }

  /** Look and insert in one transaction; the index of open version changes has the last word, whoever else inserts. */
  private async changeVersion(name: string, request: VersionChangeRequest): Promise<{ operationId: string }> {
    const operationId = await this.unitOfWork.run(async () => {
      await this.schedulers.decideAlone(name);
      for (let tries = 0; tries < versionChangeTries; tries++) {
        // In this order: where no change is open, the active version that is read then is still active at the insert.
        const openChange = await this.operationStore.findOpen(name, versionChanges);
        const scheduler = await this.schedulers.getScheduler(name);
        const isTerminating = scheduler?.state === 'terminating';
        const [block] = versionChangeBlocks(name, { isTerminating, openChange });
        if (block !== undefined) throw blocked(request.refusal, block);
        if (scheduler === null) throw schedulerNotFound(request.unknown);
        const inserted = await this.operationStore.insert({ scheduler: name, actor, ...request.compose(scheduler) });
        if (inserted !== null) return inserted.id;
      }
      throw new DomainError(
        'aborted',
        'scheduler.versions_contended',
        `${request.refusal}: version changes of scheduler ${name} follow one another too fast; try again`,
      );
    });
    await this.operations.announce(name);
    return { operationId };
  }

  private async cancelVersionChange(name: string): Promise<void> {
    for (;;) {
      const open = await this.operationStore.findOpen(name, versionChanges);
      if (open === null) return;
      const canceled = await this.operationStore.cancel(
        name,
        open.id,
        'cancellation requested: the scheduler is being deleted',
      );
      // It may end while we wait for its row, and have ordered the next one.
      if (canceled !== null && canceled.answer !== 'ended') return;
    }
  }
}

function newVersion(scheduler: Scheduler, definition: SchedulerDefinition): NewVersion {
  // `creating` is v10's state of a scheduler out of a request, and of one that changes its version.
  const entity = toV10Entity({ ...scheduler, state: 'creating', definition });
  return { definition: 'create_new_scheduler_version', input: { scheduler: entity, definition } };
}

function assertValid(name: string, definition: SchedulerDefinition): void {
  const problems = validateScheduler(name, definition);
  if (problems.length === 0) return;
  throw new DomainError('invalid_argument', 'scheduler.invalid', validationMessage(problems), {
    details: { problems },
  });
}

function assertValidPatched(name: string, definition: SchedulerDefinition): void {
  const problems = validateSchedulerDetailed(name, definition);
  if (problems.length === 0) return;
  const lines = problems.map(({ untranslated }) => untranslated);
  throw new DomainError('invalid_argument', 'scheduler.invalid', `invalid patched scheduler: ${lines.join('\n')}`, {
    details: { problems: problems.map(({ message }) => message) },
  });
}

function blocked(refusal: string, { code, detail, operationId }: PlanBlock): DomainError {
  return new DomainError('failed_precondition', blockCodes[code], `${refusal}: ${detail}`, {
    details: operationId === undefined ? {} : { operationId },
  });
}

const blockCodes: Record<PlanBlock['code'], string> = {
  version_change_open: 'scheduler.version_change_open',
  scheduler_terminating: 'scheduler.terminating',
};

function noSchedulerForVersion(name: string): string {
  return `no scheduler found, can not create new version for inexistent scheduler: scheduler ${name} not found`;
}

function schedulerNotFound(message: string): DomainError {
  return new DomainError('not_found', 'scheduler.not_found', message);
}
