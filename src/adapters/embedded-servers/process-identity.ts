import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/**
 * One process, not just its number: a pid is given anew once its process is gone, its start time is not.
 * `startedAt` is opaque and compared only for equality: clock ticks since boot on Linux (proc(5), field 22 of
 * /proc/PID/stat), seconds since the epoch elsewhere (`ps -o lstart=`), 'unknown' where neither can be had.
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startedAt: string;
}

/** The process that has this pid now, or undefined if there is none. A zombie is none: it holds nothing any more. */
export function findProcess(pid: number): ProcessIdentity | undefined {
  if (process.platform === 'linux') {
    const stat = readProcFile(pid, 'stat');
    const startedAt = stat === undefined ? undefined : startTimeFromProcStat(stat);
    return startedAt === undefined ? undefined : { pid, startedAt };
  }
  if (process.platform === 'win32') return canBeSignalled(pid) ? { pid, startedAt: 'unknown' } : undefined;
  const startedAt = startTimeFromPs(ps(pid, 'stat=,lstart='));
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** This very process. */
export function ownProcess(): ProcessIdentity {
  return findProcess(process.pid) ?? { pid: process.pid, startedAt: 'unknown' };
}

/** Whether exactly this process still runs. */
export function isRunning(identity: ProcessIdentity): boolean {
  return findProcess(identity.pid)?.startedAt === identity.startedAt;
}

/** The command line that the process was started with, words separated by spaces; empty if it cannot be read. */
export function commandLineOf(pid: number): string {
  if (process.platform === 'linux') return (readProcFile(pid, 'cmdline') ?? '').replaceAll('\0', ' ');
  return process.platform === 'win32' ? '' : ps(pid, 'args=');
}

/** Sends a signal to exactly this process; a process that is gone already is no error. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isRunning(identity)) return;
  try {
    process.kill(identity.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/**
 * The start time in a line of /proc/PID/stat, or undefined for a zombie or dead process. The second field is the
 * program's name in brackets and may itself hold spaces and brackets, so counting starts after the last bracket.
 */
export function startTimeFromProcStat(stat: string): string | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  return state === 'Z' || state === 'X' ? undefined : fields[19];
}

/** The start time in the answer of `ps -o stat=,lstart=` in UTC, or undefined for no process or a zombie. */
export function startTimeFromPs(line: string): string | undefined {
  const [, state, started] = /^(\S+)\s+(.+)$/.exec(line.trim()) ?? [];
  if (state === undefined || started === undefined || state.startsWith('Z')) return undefined;
  return String(Date.parse(`${started} UTC`) / 1000);
}

function readProcFile(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return undefined;
  }
}

function ps(pid: number, columns: string): string {
  try {
    const env = { LC_ALL: 'C', TZ: 'UTC', PATH: '/bin:/usr/bin' };
    return execFileSync('ps', ['-o', columns, '-p', String(pid)], { env, encoding: 'utf8', stdio: 'pipe' });
  } catch {
    return '';
  }
}

function canBeSignalled(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
