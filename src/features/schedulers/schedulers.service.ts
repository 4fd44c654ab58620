import { Injectable } from '@nestjs/common';
import { DomainError } from '../../domain/errors';
import { versionChanges, type Operation } from '../../domain/operation/operation';
import type { FleetCounts } from '../../domain/room/room';
import { changedFields, definitionChanges } from '../../domain/scheduler/definition-changes';
import {
  isEmptyPatch,
  noChangeFound,
  patchDefinition,
  type DefinitionPatch,
} from '../../domain/scheduler/patch-definition';
import { versionChangeBlocks, type PlanBlock } from '../../domain/scheduler/plan-version-change';
import type { Scheduler, SchedulerDefinition, SchedulerVersion } from '../../domain/scheduler/scheduler';
import { toV10Entity } from '../../domain/scheduler/scheduler-entity';
import { keepExtensions } from '../../domain/scheduler/scheduler-extensions';
import { schedulerNotFound } from '../../domain/scheduler/scheduler-not-found';
import { mayShowAnotherState, shownState } from '../../domain/scheduler/shown-state';
import { extensionPolicyTypes } from '../../domain/scheduler/validate-extensions';
import {
  validateNewScheduler,
  validateScheduler,
  validateSchedulerDetailed,
  validationMessage,
  whyNeverRuns,
} from '../../domain/scheduler/validate-scheduler';
import { OperationStore, type NewOperation } from '../../ports/operation-store';
import { RoomStore } from '../../ports/room-store';
import { SchedulerStore, type SchedulerFilter } from '../../ports/scheduler-store';
import { UnitOfWork } from '../../ports/unit-of-work';
import { OperationsService } from '../operations/operations.service';

const actor = 'api';
/** The line in the history of what a deletion cancels. */
const deletionCancels = 'cancellation requested: the scheduler is being deleted';
/** v10's words. */
const noSchedulerForVersion = 'no scheduler found, can not create new version for inexistent scheduler: ';

type NewVersion = Pick<NewOperation<'create_new_scheduler_version'>, 'definition' | 'input' | 'reason'>;
type Switch = Pick<NewOperation<'switch_active_version'>, 'definition' | 'input' | 'reason'>;

/** What a client asked for, in v10's words. */
interface VersionChangeRequest {
  /** How its refusals begin. */
  refusal: string;
  /** What is said before `scheduler … not found`. */
  unknown?: string;
  compose: (scheduler: Scheduler) => NewVersion | Switch;
}

/** How long a reading of schedulers waits for the rooms' store, which may be away. Milliseconds. */
const stateDeadlineMs = 500;
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
  async createScheduler(name: string, wanted: SchedulerDefinition): Promise<Scheduler> {
    const definition = keepExtensions(wanted, undefined);
    refuseFor(validateNewScheduler(name, definition));
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
      const reason = 'scheduler created';
      await this.operationStore.insert({ scheduler: name, definition: 'create_scheduler', input, actor, reason });
      return created;
    });
    await this.operations.announce(name);
    return scheduler;
  }

  /** @throws DomainError `scheduler.not_found`, also for an unknown version (v10's text does not tell them apart). */
  async getScheduler(name: string, version?: string): Promise<Scheduler> {
    const scheduler = await this.schedulers.getScheduler(name, version);
    if (scheduler === null) throw schedulerNotFound(name);
    return this.asShown(scheduler);
  }

  async listSchedulers(filter: SchedulerFilter): Promise<Scheduler[]> {
    const schedulers = await this.schedulers.listSchedulers(filter);
    return Promise.all(schedulers.map((scheduler) => this.asShown(scheduler)));
  }

  /**
   * Newest first.
   * @throws DomainError `scheduler.not_found`.
   */
  async listVersions(name: string): Promise<SchedulerVersion[]> {
    const versions = await this.schedulers.listVersions(name);
    if (versions.length === 0) throw schedulerNotFound(name);
    return versions;
  }

  /**
   * Orders a version with this definition, which keeps the active version's extensions where it says nothing of them; the
   * worker numbers it and makes it the active one.
   * @throws DomainError `scheduler.invalid` with every failing rule, `scheduler.terminating`, `scheduler.version_change_open`,
   *   `scheduler.not_found`.
   */
  async createNewVersion(name: string, definition: SchedulerDefinition): Promise<{ operationId: string }> {
    // Before anything is looked up, as v10 does; but a policy of ours may rest on parameters that are kept.
    if (!restsOnKeptExtensions(definition)) refuseFor(validateScheduler(name, definition));
    return this.changeVersion(name, {
      refusal: 'cannot create new scheduler version',
      unknown: noSchedulerForVersion,
      compose: (scheduler) => {
        const whole = keepExtensions(definition, scheduler.definition.extensions);
        refuseFor(validateScheduler(name, whole));
        return newVersion(scheduler, whole, 'new version');
      },
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
      unknown: noSchedulerForVersion,
      compose: (scheduler) => {
        const definition = patchDefinition(scheduler.definition, patch);
        assertValidPatched(name, definition);
        return newVersion(scheduler, definition, 'PATCH');
      },
    });
  }

  /**
   * Orders a switch to a version; empty means the newest. An unknown one is accepted, and its operation ends in error (v10).
   * @throws DomainError `scheduler.invalid` for a version of which no room can ever be made (v10's and older ones may be
   *   such), `scheduler.terminating`, `scheduler.version_change_open`, `scheduler.not_found`.
   */
  async switchActiveVersion(name: string, version: string): Promise<{ operationId: string }> {
    const stored = await this.findVersion(name, version);
    if (stored !== null) refuseFor(whyNeverRuns(name, stored.definition));
    return this.changeVersion(name, {
      refusal: 'cannot switch active version',
      compose: () => ({
        definition: 'switch_active_version',
        input: { newActiveVersion: version },
        reason: `switch to ${version === '' ? 'the newest version' : version}`,
      }),
    });
  }

  /**
   * Accepts a deletion: the scheduler shows `terminating` from here on, and a version change that has not ended is canceled,
   * as are orders of rooms that run, so that the deletion does not wait long for them. Repeating it answers the operation that runs.
   * @throws DomainError `scheduler.not_found`.
   */
  async deleteScheduler(name: string): Promise<{ operationId: string }> {
    const operationId = await this.unitOfWork.run(async () => {
      await this.schedulers.decideAlone(name);
      const scheduler = await this.schedulers.getScheduler(name);
      if (scheduler === null) {
        throw schedulerNotFound(name, 'no scheduler found, can not delete nonexistent scheduler: ');
      }
      // Before the scheduler's row is written, because that is the order in which a worker's transactions take the two. What
      // ends at once takes the scheduler's counter too, so it comes last.
      await this.cancelRoomOrders(name);
      await this.cancelVersionChange(name);
      await this.schedulers.setState(name, 'terminating');
      const open = await this.findOpenDeletion(scheduler);
      if (open !== null) return open.id;
      const inserted = await this.operationStore.insert({
        scheduler: name,
        definition: 'delete_scheduler',
        input: {},
        actor,
        reason: 'scheduler deleted',
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
      schedulers.map(async (scheduler) => {
        const counts = await this.rooms.countFleet(scheduler.name);
        return { scheduler: await this.withStateOf(scheduler, counts), counts };
      }),
    );
  }

  /** With the state that its rooms give it; with the stored one where the rooms' store does not say soon: it is no part of the scheduler. */
  private async asShown(scheduler: Scheduler): Promise<Scheduler> {
    if (scheduler.state !== 'in-sync') return scheduler;
    const shown = (async () => this.withStateOf(scheduler, await this.rooms.countFleet(scheduler.name)))();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Scheduler>((resolve) => (timer = setTimeout(() => resolve(scheduler), stateDeadlineMs)));
    try {
      return await Promise.race([shown, late]);
    } catch {
      return scheduler;
    } finally {
      clearTimeout(timer);
    }
  }

  private async withStateOf(scheduler: Scheduler, counts: FleetCounts): Promise<Scheduler> {
    if (!mayShowAnotherState(scheduler, counts)) return scheduler;
    return { ...scheduler, state: shownState(scheduler, counts, await this.rooms.readEarlyEnds(scheduler.name)) };
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
        if (scheduler === null) throw schedulerNotFound(name, request.unknown);
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

  /** The newest for an empty version; null for an unknown one. */
  private async findVersion(name: string, version: string): Promise<Scheduler | null> {
    const wanted = version === '' ? (await this.schedulers.listVersions(name))[0]?.version : version;
    return wanted === undefined ? null : this.schedulers.getScheduler(name, wanted);
  }

  /** One that deletes this scheduler, not a former one of its name: that one has only its end to write. */
  private async findOpenDeletion({ name, createdAt }: Scheduler): Promise<Operation | null> {
    const deletes = (operation: Operation): boolean =>
      operation.definition === 'delete_scheduler' &&
      operation.cancelRequestedAt === null &&
      operation.createdAt.getTime() >= createdAt.getTime();
    const oldest = await this.operationStore.findOpen(name, ['delete_scheduler']);
    if (oldest === null || deletes(oldest)) return oldest;
    return (
      (await this.openOperations(name, 'pending')).find(deletes) ??
      (await this.openOperations(name, 'active')).find(deletes) ??
      null
    );
  }

  /** What is pending the deletion cancels itself; what runs it would wait for. */
  private async cancelRoomOrders(name: string): Promise<void> {
    for (const { id, definition } of await this.openOperations(name, 'active')) {
      if (definition === 'add_rooms' || definition === 'remove_rooms')
        await this.operationStore.cancel(name, id, deletionCancels);
    }
  }

  private async openOperations(name: string, stage: 'pending' | 'active'): Promise<Operation[]> {
    return (await this.operationStore.list(name, { stage, order: 'asc', page: 1, perPage: 1 })).operations;
  }

  private async cancelVersionChange(name: string): Promise<void> {
    for (;;) {
      const open = await this.operationStore.findOpen(name, versionChanges);
      if (open === null) return;
      const canceled = await this.operationStore.cancel(name, open.id, deletionCancels);
      // It may end while we wait for its row, and have ordered the next one.
      if (canceled !== null && canceled.answer !== 'ended') return;
    }
  }
}

function newVersion(
  scheduler: Scheduler,
  definition: SchedulerDefinition,
  request: 'new version' | 'PATCH',
): NewVersion {
  // `creating` is v10's state of a scheduler out of a request, and of one that changes its version.
  const entity = toV10Entity({ ...scheduler, state: 'creating', definition });
  return {
    definition: 'create_new_scheduler_version',
    input: { scheduler: entity, definition },
    reason: reasonOf(request, changedFields(definitionChanges(scheduler.definition, definition))),
  };
}

/** `new version with changes of maxSurge, spec`, `PATCH of maxSurge`. */
function reasonOf(request: 'new version' | 'PATCH', fields: string[]): string {
  if (fields.length === 0) return `${request} without changes`;
  return `${request}${request === 'PATCH' ? '' : ' with changes'} of ${fields.join(', ')}`;
}

function restsOnKeptExtensions({ extensions, autoscaling }: SchedulerDefinition): boolean {
  return extensions === undefined && extensionPolicyTypes.some((type) => type === autoscaling?.policy.type);
}

function refuseFor(problems: readonly string[]): void {
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
