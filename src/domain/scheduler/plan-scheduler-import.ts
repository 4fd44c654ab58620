import { definitionChanges } from './definition-changes';
import { enumerate, pathsOf } from './read-v10-scheduler';
import type { KeptHistory, SchedulerHistory, VersionRecord } from './scheduler-history';

/**
 * What an import does with one scheduler. `add` it; `update` the one that an earlier import made, because v10 went on;
 * leave it, because it is the same (`none`) or because it is no longer only v10's to decide (`refuse`).
 */
export type SchedulerImportPlan =
  | { action: 'add' }
  | { action: 'none' }
  | { action: 'update'; changes: string[] }
  | { action: 'refuse'; reason: string };

/**
 * What to do with a scheduler of v10's when `kept` has its name here.
 *
 * The same is: the same versions, saying the same, with the same one active. The last scale-down does not count, as v10 moves
 * it all the time. What differs is taken over only when everything here came from v10; else someone decided something here,
 * and an import never undoes that.
 */
export function planSchedulerImport(
  wanted: SchedulerHistory,
  kept: KeptHistory | null,
  hasOpenChange: boolean,
): SchedulerImportPlan {
  if (kept === null) return { action: 'add' };
  const [ours, theirs] = [byNumber(kept), byNumber(wanted)];
  const onlyHere = [...ours.keys()].filter((version) => !theirs.has(version));
  const changes = changesOf(kept.version, ours, wanted.version, theirs);
  if (kept.state === 'terminating') return { action: 'refuse', reason: 'it is being deleted here' };
  if (changes.length === 0 && onlyHere.length === 0) return { action: 'none' };

  if (kept.createdAt.getTime() !== wanted.createdAt.getTime()) {
    const [here, there] = [kept, wanted].map(({ createdAt }) => createdAt.toISOString());
    return { action: 'refuse', reason: `it is another scheduler of this name: made ${here} here, ${there} in v10` };
  }
  if (onlyHere.length > 0) {
    return { action: 'refuse', reason: `it has versions here that v10 lacks: ${enumerate(onlyHere)}` };
  }
  const madeTwice = wanted.versions.filter(({ version, createdAt }) => {
    const own = ours.get(version);
    return own !== undefined && own.createdAt.getTime() !== createdAt.getTime();
  });
  if (madeTwice.length > 0) {
    const numbers = enumerate(madeTwice.map(({ version }) => version));
    return { action: 'refuse', reason: `versions of the same number were made here and in v10: ${numbers}` };
  }
  if (hasOpenChange) return { action: 'refuse', reason: 'an operation is changing its version here' };
  if (!kept.isAsImported) {
    const active = `${kept.version} is active here, ${wanted.version} in v10`;
    return { action: 'refuse', reason: `it was changed here after its import: ${active}` };
  }
  return { action: 'update', changes };
}

type Versions = ReadonlyMap<string, VersionRecord>;

function byNumber({ versions }: SchedulerHistory): Versions {
  return new Map(versions.map((version) => [version.version, version]));
}

/** What would be different here, in sentences for people. */
function changesOf(keptActive: string, ours: Versions, wantedActive: string, theirs: Versions): string[] {
  const added = [...theirs.keys()].filter((version) => !ours.has(version));
  const rewritten = [...theirs.values()].flatMap((version) => {
    const own = ours.get(version.version);
    return own === undefined ? [] : versionChanges(own, version);
  });
  const [from, to] = [ours.get(keptActive), theirs.get(wantedActive)];
  const activeChanges = from && to ? definitionChanges(from.definition, to.definition) : [];
  const paths = activeChanges.length > 0 ? ` (${pathsOf(activeChanges)})` : '';
  return [
    ...(added.length > 0 ? [`new versions ${enumerate(added)}`] : []),
    ...(keptActive === wantedActive ? [] : [`active ${keptActive} → ${wantedActive}${paths}`]),
    ...rewritten,
  ];
}

function versionChanges(from: VersionRecord, to: VersionRecord): string[] {
  const changes = definitionChanges(from.definition, to.definition);
  return [
    ...(changes.length > 0 ? [`${to.version} says otherwise: ${pathsOf(changes)}`] : []),
    ...(from.rollbackVersion === to.rollbackVersion
      ? []
      : [`${to.version} rolls back to ${to.rollbackVersion || 'nothing'}`]),
  ];
}
