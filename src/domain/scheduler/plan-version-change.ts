import { DomainError } from '../errors';
import type { Operation } from '../operation/operation';
import { counted } from '../phrases';
import { countFleet } from '../room/count-fleet';
import { hasMatch, type Room, type RoomStatus } from '../room/room';
import { definitionChanges, type DefinitionChange } from './definition-changes';
import { bumpOf, nextVersion, type Bump } from './next-version';
import { isEmptyPatch, noChangeFound, patchDefinition, type DefinitionPatch } from './patch-definition';
import type { Scheduler, SchedulerDefinition } from './scheduler';
import { keepExtensions } from './scheduler-extensions';
import { validateScheduler } from './validate-scheduler';

/** One step that an accepted version change would take, in order. */
export interface PlannedStep {
  action: 'validate_room' | 'store_version' | 'switch_version' | 'replace_rooms';
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
  /** How many of them would make room for others because they are of older versions, those included that do so already. */
  roomsToReplace: number;
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
  rooms: readonly Room[];
  /** What rooms are started with in the versions that have rooms, by version; one that is not known is missing. */
  definitions: ReadonlyMap<string, SchedulerDefinition>;
  /** The scheduler's version change that has not ended. */
  openChange: Pick<Operation, 'id'> | null;
}

/**
 * What a request for a new version would do: the functions that serve the request, without their effect. Problems are told
 * in the wording of POST for both, as it names fields the shorter way.
 */
export function planVersionChange(facts: VersionChangeFacts): VersionPlan {
  const { scheduler, versions, wanted, openChange } = facts;
  const { rooms } = countFleet(facts.rooms);
  const { definition, problems } = resolveDefinition(scheduler, wanted);
  const changes = definition === null ? [] : definitionChanges(scheduler.definition, definition);
  const bump = bumpOf(changes);
  const version = problems.length === 0 ? nextVersion({ active: scheduler.version, existing: versions, bump }) : '';
  const replaced = version === '' || definition === null ? [] : findReplaced(facts, definition);
  return {
    problems,
    changes,
    bump,
    version,
    rooms,
    roomsWithMatches: rooms.occupied + rooms.active + rooms.allocated,
    roomsToReplace: replaced.length,
    steps:
      version === '' || definition === null
        ? []
        : stepsTo(version, { active: scheduler.version, bump, replaced, definition }),
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
  if (!('patch' in wanted)) {
    const definition = keepExtensions(wanted.definition, active.extensions);
    return { definition, problems: validateScheduler(name, definition) };
  }
  if (isEmptyPatch(wanted.patch)) return { definition: null, problems: [noChangeFound(name)] };
  try {
    const definition = patchDefinition(active, wanted.patch);
    return { definition, problems: validateScheduler(name, definition) };
  } catch (error) {
    if (!(error instanceof DomainError) || error.code !== 'scheduler.invalid_clear') throw error;
    return { definition: null, problems: [error.message] };
  }
}

/** Rooms that are replaced once this definition is the active one; those that are over, or go for another reason, are not. */
function findReplaced({ rooms, definitions }: VersionChangeFacts, wanted: SchedulerDefinition): Room[] {
  const isReplaced = new Map(
    [...definitions].map(([version, definition]) => [
      version,
      definitionChanges(definition, wanted).some(({ major }) => major),
    ]),
  );
  return rooms.filter(
    ({ version, validation, status, drainReason }) =>
      isReplaced.get(version) === true &&
      !validation &&
      status !== 'error' &&
      status !== 'terminating' &&
      status !== 'terminated' &&
      (drainReason === null || drainReason === 'rollout'),
  );
}

function stepsTo(
  version: string,
  {
    active,
    bump,
    replaced,
    definition,
  }: { active: string; bump: Bump; replaced: readonly Room[]; definition: SchedulerDefinition },
): PlannedStep[] {
  const steps: PlannedStep[] = [
    { action: 'store_version', detail: `stores ${version}; ${active} stays the active version` },
    { action: 'switch_version', detail: `makes ${version} the active version` },
  ];
  if (bump === 'major') {
    const detail = `starts one room of ${version} that is given no match, and goes on only if it becomes ready`;
    steps.unshift({ action: 'validate_room', detail });
  }
  if (replaced.length > 0) steps.push({ action: 'replace_rooms', detail: describeReplacement(replaced, definition) });
  return steps;
}

/** `replaces 12 rooms, with a surge of 25%; 5 of them have a match, and go when it ends`. */
function describeReplacement(replaced: readonly Room[], { maxSurge, extensions }: SchedulerDefinition): string {
  const withMatch = replaced.filter(hasMatch).length;
  const begin = `replaces ${counted(replaced.length, 'room')}, with a surge of ${maxSurge}`;
  if (withMatch === 0) return begin;
  const deadline = extensions?.drain?.deadlineSeconds;
  const [have, go] = withMatch === 1 ? ['has', 'goes'] : ['have', 'go'];
  const atLast = deadline === undefined ? '' : `, or after ${deadline} s`;
  return `${begin}; ${withMatch} of them ${have} a match, and ${go} when it ends${atLast}`;
}
