import type { ProcessIdentity } from './process-identity';

/** The name of the file with which a process claims a state directory. */
export function claimName({ pid, startedAt }: ProcessIdentity): string {
  return `owner-${pid}-${startedAt}.lock`;
}

/** The process that a claim's file name stands for; undefined for the name of any other file. */
export function claimant(fileName: string): ProcessIdentity | undefined {
  const [, pid, startedAt] = /^owner-(\d+)-(\w+)\.lock$/.exec(fileName) ?? [];
  return pid === undefined || startedAt === undefined ? undefined : { pid: Number(pid), startedAt };
}
