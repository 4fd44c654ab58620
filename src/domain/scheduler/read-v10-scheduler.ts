import { DomainError } from '../errors';
import { definitionChanges, type DefinitionChange } from './definition-changes';
import type { SchedulerDefinition } from './scheduler';
import { fieldsLeftOut, fromV10Entity, type EntityScheduler } from './scheduler-entity';
import type { SchedulerHistory, VersionRecord } from './scheduler-history';
import { parseSchedulerVersion } from './scheduler-version';
import { validateScheduler } from './validate-scheduler';

/** The object in a YAML column of v10, or the rest of a sentence that says why it is none (`is no YAML: …`). */
export type V10Document = { entity: object } | { unreadable: string };

export interface V10VersionRow {
  version: string;
  document: V10Document;
  rollbackVersion: string;
  createdAt: Date;
}

/** A scheduler as v10 stores it (`management.md` 5.1). */
export interface V10SchedulerRow {
  name: string;
  game: string;
  state: string;
  /** The active version; empty where the column is. */
  version: string;
  /** What runs. v10 keeps it apart from the version's own row. */
  document: V10Document;
  createdAt: Date;
  /** Oldest first. */
  versions: readonly V10VersionRow[];
}

/** What a v10 scheduler becomes, and what its owner should know of it; or why it becomes nothing. */
export type V10Reading = { history: SchedulerHistory; remarks: string[] } | { refusal: string };

/**
 * Reads a v10 scheduler with all its versions, or refuses it as a whole: what cannot be read must not become half a scheduler.
 *
 * The active row is what runs, so it also becomes the definition of the active version, whose own row may be missing or say
 * otherwise. A definition that is readable and breaks a rule of ours is kept, with a remark: rooms run with it, and v10 had
 * accepted it. Only the name must keep our rules, because it is a part of keys, addresses and the runtime's names.
 */
export function readV10Scheduler(row: V10SchedulerRow): V10Reading {
  if (row.state === 'terminating') return { refusal: 'v10 is deleting it' };
  if (row.version === '') return { refusal: 'it has no active version' };
  try {
    return readAll(row);
  } catch (error) {
    if (error instanceof DomainError) return { refusal: error.message };
    throw error;
  }
}

function readAll(row: V10SchedulerRow): V10Reading {
  const leftOut = new Set<string>();
  const active = readDocument(row, row.document, 'its active definition', leftOut);
  const stored = row.versions.map(({ document, ...version }) => ({
    ...version,
    definition: readDocument(row, document, `version ${version.version}`, leftOut).definition,
  }));
  const problems = validateScheduler(row.name, active.definition);
  const nameProblem = problems.find((problem) => problem.startsWith('Scheduler.Name:'));
  if (nameProblem !== undefined) return { refusal: nameProblem };

  const activeRow = stored.find(({ version }) => version === row.version);
  const versions: VersionRecord[] = stored.map((version) =>
    version === activeRow ? { ...version, definition: active.definition } : version,
  );
  if (activeRow === undefined) {
    const { version, createdAt } = row;
    versions.push({ version, definition: active.definition, rollbackVersion: '', createdAt });
  }
  return {
    history: {
      name: row.name,
      version: row.version,
      createdAt: row.createdAt,
      lastDownscaleAt: active.lastDownscaleAt,
      versions,
    },
    remarks: [
      ...stateRemarks(row),
      ...activeVersionRemarks(row.version, activeRow?.definition, active.definition),
      ...problems.map((problem) => `is kept although it would be refused here: ${problem}`),
      ...olderProblemsRemarks(row, stored),
      ...(leftOut.size > 0 ? [`has fields that mean nothing here and are left out: ${[...leftOut].join(', ')}`] : []),
    ],
  };
}

/** Name and game are columns of v10's; every version has those of the scheduler, as v10 itself reads it. */
function readDocument(
  { name, game }: V10SchedulerRow,
  document: V10Document,
  subject: string,
  leftOut: Set<string>,
): EntityScheduler {
  const refuse = (reason: string): never => {
    throw new DomainError('invalid_argument', 'scheduler.unreadable', `${subject} ${reason}`);
  };
  if ('unreadable' in document) return refuse(document.unreadable);
  if (holdsNul(document.entity)) return refuse('holds a NUL character, which the database cannot keep');
  const entity = { ...document.entity, Name: name, Game: game };
  try {
    for (const path of fieldsLeftOut(entity)) leftOut.add(path);
    return fromV10Entity(entity);
  } catch (error) {
    if (error instanceof DomainError) return refuse(`cannot be read: ${error.message}`);
    throw error;
  }
}

/** PostgreSQL's JSON cannot hold the character; YAML can write it. */
function holdsNul(value: unknown): boolean {
  if (typeof value === 'string') return value.includes('\0');
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(([key, child]) => key.includes('\0') || holdsNul(child));
}

function stateRemarks({ state }: V10SchedulerRow): string[] {
  if (state === 'in-sync') return [];
  return [`is ${JSON.stringify(state)} in v10, by a change that runs or was left behind; it is in-sync here`];
}

function activeVersionRemarks(
  version: string,
  stored: SchedulerDefinition | undefined,
  active: SchedulerDefinition,
): string[] {
  const remarks =
    parseSchedulerVersion(version) === null
      ? [`has ${JSON.stringify(version)} as its active version, which is no number: switch before you change anything`]
      : [];
  if (stored === undefined) return [...remarks, `lacks a row for its active version ${version}: it gets one`];
  const changes = definitionChanges(stored, active);
  if (changes.length === 0) return remarks;
  const differs = `runs something else than v10 keeps as ${version}: ${pathsOf(changes)}; what runs becomes ${version}`;
  return [...remarks, differs];
}

function olderProblemsRemarks({ name, version: active }: V10SchedulerRow, stored: readonly VersionRecord[]): string[] {
  const refused = stored
    .filter(({ version, definition }) => version !== active && validateScheduler(name, definition).length > 0)
    .map(({ version }) => version);
  return refused.length === 0 ? [] : [`keeps versions that would be refused here: ${enumerate(refused)}`];
}

/** Where two definitions differ; `(major)` is what rooms must be made anew for. */
export function pathsOf(changes: readonly DefinitionChange[]): string {
  return enumerate(changes.map(({ path, major }) => (major ? `${path} (major)` : path)));
}

/** How many entries of a list a line shows. */
const shownEntries = 8;

export function enumerate(entries: readonly string[]): string {
  const rest = entries.length - shownEntries;
  return entries.slice(0, shownEntries).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}
