import type { SchedulerDefinition } from './scheduler';

/** Cluster autoscalers move a pod unless this says `false` (`cluster-autoscaler/FAQ.md`). */
export const safeToEvictAnnotation = 'cluster-autoscaler.kubernetes.io/safe-to-evict';

/** By these Maestro finds its own instances again; the words are v10's, and its selectors use them. */
const reservedLabels: ReadonlySet<string> = new Set(['heritage', 'maestro-scheduler', 'version']);
const reservedPrefix = 'maestro.io/';

export function isReservedLabel(key: string): boolean {
  return reservedLabels.has(key) || key.startsWith(reservedPrefix);
}

/**
 * Whether this annotation is Maestro's to write. What a user says about eviction counts only where it protects: `false` is
 * kept, while `true` would let a room be moved in the middle of a match.
 */
export function isReservedAnnotation(key: string, value: string): boolean {
  return key.startsWith(reservedPrefix) || (key === safeToEvictAnnotation && value !== 'false');
}

/**
 * The keys of a definition that its instances do not get, in order: they are stored and answered as they came, because v10
 * does, and whoever looks at an instance finds Maestro's own there.
 */
export function ignoredKeys({ labels, annotations }: Pick<SchedulerDefinition, 'labels' | 'annotations'>): string[] {
  return [
    ...Object.keys(labels).filter(isReservedLabel),
    ...Object.entries(annotations)
      .filter(([key, value]) => isReservedAnnotation(key, value))
      .map(([key]) => key),
  ];
}

/** Says which keys of a version its rooms do not get; empty when they get them all. For the history of what makes the version. */
export function ignoredKeysRemarks(definition: Pick<SchedulerDefinition, 'labels' | 'annotations'>): string[] {
  const keys = ignoredKeys(definition);
  if (keys.length === 0) return [];
  return [
    `stored, but rooms do not get them, because Maestro finds and protects its rooms by them: ${keys.map(quoted).join(', ')}`,
  ];
}

function quoted(key: string): string {
  return `"${key}"`;
}
