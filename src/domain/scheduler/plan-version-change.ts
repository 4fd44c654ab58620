import { DomainError } from '../errors';
import type { Operation } from '../operation/operation';
import type { RoomStatus } from '../room/room';
import { definitionChanges, type DefinitionChange } from './definition-changes';
import { bumpOf, nextVersion, type Bump } from './next-version';
import { isEmptyPatch, noChangeFound, patchDefinition, type DefinitionPatch } from './patch-definition';
import type { Scheduler, SchedulerDefinition } from './scheduler';
import { validateScheduler } from './validate-scheduler';

/** One step that an accepted version change would take, in order. */
export interface PlannedStep {
  action: 'validate_room' | 'store_version' | 'switch_version';
  /** A sentence for people. */
  detail: string;
}

/** Why a version change is refused now, although nothing is wrong with it. */
export interface PlanBlock {
  code: 'version_change_open' | 'scheduler_terminating';
  /** A sentence for people. */
  detail: string;
  /** The version change that has to end, or to be canceled, first. */
  operationId?: string;
}

/** What a version change would do, without doing it. */
export interface VersionPlan {
  /** What is wrong with the request itself; with a problem no version would be made, and no step is planned. */
  problems: string[];
  /** What differs from the active definition. */
  changes: DefinitionChange[];
  bump: Bump;
  /** The version that would be made; empty when none would be. */
  version: string;
  /** The rooms that there are now, by status. */
  rooms: Record<RoomStatus, number>;
  /** How many of them have a match, or hold a place for one. */
  roomsWithMatches: number;
  steps: PlannedStep[];
  /** What is in the way now, in the order in which the request would be refused for it. */
  blockedBy: PlanBlock[];
}

/** A whole definition, or what to change in the active one. */
export type WantedVersion = { definition: SchedulerDefinition } | { patch: DefinitionPatch };

export interface VersionChangeFacts {
  scheduler: Scheduler;
  /** Every version that the scheduler has. */
  versions: readonly string[];
  wanted: WantedVersion;
  /** Validation rooms apart. */
  rooms: Record<RoomStatus, number>;
  /** The scheduler's version change that has not ended. */
  openChange: Pick<Operation, 'id'> | null;
}

/**
 * What a request for a new version would do: the functions that serve the request, without their effect. Problems are told
 * in the wording of POST for both, as it names fields the shorter way.
 */
export function planVersionChange(facts: VersionChangeFacts): VersionPlan {
  const { scheduler, versions, wanted, rooms, openChange } = facts;
  const { definition, problems } = resolveDefinition(scheduler, wanted);
  const changes = definition === null ? [] : definitionChanges(scheduler.definition, definition);
  const bump = bumpOf(changes);
  const version = problems.length === 0 ? nextVersion({ active: scheduler.version, existing: versions, bump }) : '';
  return {
    problems,
    changes,
    bump,
    version,
    rooms,
    roomsWithMatches: rooms.occupied + rooms.active + rooms.allocated,
    steps: version === '' ? [] : stepsTo(version, scheduler.version, bump),
    blockedBy: versionChangeBlocks(scheduler.name, { isTerminating: scheduler.state === 'terminating', openChange }),
  };
}

/** What keeps a scheduler from changing its version now, in the order in which requests are refused for it. */
export function versionChangeBlocks(
  name: string,
  { isTerminating, openChange }: { isTerminating: boolean; openChange: Pick<Operation, 'id'> | null },
): PlanBlock[] {
  const blocks: PlanBlock[] = [];
  if (isTerminating) {
    blocks.push({ code: 'scheduler_terminating', detail: `scheduler ${name} is being deleted` });
  }
  if (openChange !== null) {
    blocks.push({
      code: 'version_change_open',
      // v10's words: clients match them.
      detail: `there is already an ongoing version operation (id: ${openChange.id}) for scheduler ${name}`,
      operationId: openChange.id,
    });
  }
  return blocks;
}

/** The definition that is asked for, null where a patch names none, and what is wrong with it. */
function resolveDefinition(
  { name, definition: active }: Scheduler,
  wanted: WantedVersion,
): { definition: SchedulerDefinition | null; problems: string[] } {
  if (!('patch' in wanted))
    return { definition: wanted.definition, problems: validateScheduler(name, wanted.definition) };
  if (isEmptyPatch(wanted.patch)) return { definition: null, problems: [noChangeFound(name)] };
  try {
    const definition = patchDefinition(active, wanted.patch);
    return { definition, problems: validateScheduler(name, definition) };
  } catch (error) {
    if (!(error instanceof DomainError) || error.code !== 'scheduler.invalid_clear') throw error;
    return { definition: null, problems: [error.message] };
  }
}

function stepsTo(version: string, active: string, bump: Bump): PlannedStep[] {
  const validation: PlannedStep = {
    action: 'validate_room',
    detail: `starts one room of ${version} that is given no match, and goes on only if it becomes ready`,
  };
  const roomsAfter =
    bump === 'major'
      ? 'rooms that start from then on are of it, those that run play on until they end'
      : 'rooms stay as they are';
  return [
    ...(bump === 'major' ? [validation] : []),
    { action: 'store_version', detail: `stores ${version}; ${active} stays the active version` },
    { action: 'switch_version', detail: `makes ${version} the active version; ${roomsAfter}` },
  ];
}
