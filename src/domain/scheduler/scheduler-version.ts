/** A version of a scheduler, `v<major>.<minor>.<patch>`; a new major means that rooms must be made anew. */
export interface SchedulerVersionNumber {
  major: number;
  minor: number;
  patch: number;
}

/**
 * Reads `v1.2.0` as loosely as v10 does: the `v`, the minor and the patch may be missing, and what follows a `-` or `+` does
 * not count. Null when the text is no version.
 */
export function parseSchedulerVersion(text: string): SchedulerVersionNumber | null {
  const match = /^v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(?:[-+][0-9A-Za-z.+-]+)?$/.exec(text);
  return match && { major: Number(match[1]), minor: Number(match[2] ?? 0), patch: Number(match[3] ?? 0) };
}

/** Whether a room of one version may live on under the other. Text that is no version has nothing in common with any (v10). */
export function isSameMajor(one: string, other: string): boolean {
  const major = parseSchedulerVersion(one)?.major;
  return major !== undefined && major === parseSchedulerVersion(other)?.major;
}
