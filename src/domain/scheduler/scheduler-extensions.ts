import type { SchedulerDefinition, SchedulerExtensions } from './scheduler';

/** The parts of extensions, each of which a patch replaces or clears as a whole, in the order of the wire. */
export const extensionParts = ['autoscaling', 'rollout', 'drain'] as const satisfies (keyof SchedulerExtensions)[];

/**
 * The definition that a whole request asks for, beside what is stored. Where it says nothing of extensions, the stored ones
 * stay: a client of v10 does not know them, and must not take away what it cannot see. Where it does, it says all of them, so
 * that empty ones are none. For a scheduler that is new, nothing is stored.
 */
export function keepExtensions(
  wanted: SchedulerDefinition,
  stored: SchedulerExtensions | undefined,
): SchedulerDefinition {
  const { extensions, ...definition } = wanted;
  return { ...definition, ...extensionsField(extensions ?? stored ?? {}) };
}

/** The stored extensions less the cleared parts, with each part that a patch gives in place of the stored one; `{}` is none. */
export function patchExtensions(
  stored: SchedulerExtensions = {},
  patch: SchedulerExtensions = {},
  isCleared: (part: keyof SchedulerExtensions) => boolean = () => false,
): SchedulerExtensions {
  const parts = extensionParts.map((part) => [part, patch[part] ?? (isCleared(part) ? undefined : stored[part])]);
  return Object.fromEntries(parts.filter(([, value]) => value !== undefined)) as SchedulerExtensions;
}

/** As the field of a definition: without empty parts, and not there when nothing is left. */
export function extensionsField(extensions: SchedulerExtensions): Pick<SchedulerDefinition, 'extensions'> {
  const saying = extensionParts.filter((part) => Object.keys(extensions[part] ?? {}).length > 0);
  if (saying.length === 0) return {};
  return { extensions: Object.fromEntries(saying.map((part) => [part, extensions[part]])) };
}
