import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../ports/logger';
import { findProcess, isRunning, type ProcessIdentity, signalProcess } from './process-identity';

/** What a watchdog is told to run and how to end it. */
export interface WatchdogOrder {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** The server's whole environment: it inherits nothing of ours. */
  readonly env: Readonly<Record<string, string>>;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** Receives the server's output, appended. */
  readonly logFile: string;
  /** Sent one after the other, `stopStepMs` apart, SIGKILL last, until the server has ended. */
  readonly stopSignals: readonly NodeJS.Signals[];
  readonly stopStepMs: number;
}

/** A server that runs under its watchdog. */
export interface GuardedServer {
  readonly pid: number;
  /**
   * Resolves when the server has ended, with how: "exit code 1", "SIGKILL"; also when its watchdog is gone, which leaves it
   * unguarded: `stop` ends it then. Never rejects.
   */
  readonly ended: Promise<string>;
  /** Ends the server and its watchdog; resolves once both are gone. May be called again. */
  stop(): Promise<void>;
}

interface ServerRecord {
  readonly watchdog: ProcessIdentity;
  readonly server?: ProcessIdentity;
}

type WatchdogEvent =
  | { event: 'started'; pid: number }
  | { event: 'failed'; message: string }
  | { event: 'ended'; code: number | null; signal: string | null };

/** A log larger than this is set aside as `NAME.1` at the next start, so two of them bound the space. */
const longestLogBytes = 5_000_000;

/**
 * Starts a server under a watchdog process of its own session, so that Ctrl-C in our terminal reaches neither and the
 * death of this process, even by SIGKILL, ends both within the order's stop steps.
 *
 * `recordFile` keeps who runs: the watchdog before it is told to start anything, the server as soon as it runs. The next
 * start reads it with `endPreviousServer`. It is removed when the server ends under our eyes.
 *
 * @throws Error with the operating system's reason if the program cannot be run at all.
 */
export async function startUnderWatchdog(order: WatchdogOrder, recordFile: string): Promise<GuardedServer> {
  mkdirSync(dirname(order.logFile), { recursive: true });
  mkdirSync(dirname(recordFile), { recursive: true });
  setAsideLongLog(order.logFile);
  const child = spawn(process.execPath, [join(__dirname, 'watchdog-process.js'), order.logFile], {
    cwd: '/',
    env: { LC_ALL: 'C', TZ: 'UTC' },
    detached: true,
    windowsHide: true,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const watchdogGone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.stdin.on('error', () => {}); // A watchdog that is gone reads nothing; its exit says so.
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));

  const watchdog = identify(child.pid ?? 0);
  writeRecord(recordFile, { watchdog });
  const events = createInterface({ input: child.stdout });
  const started = new Promise<ProcessIdentity>((resolve, reject) => {
    events.on('line', (line) => {
      const event = JSON.parse(line) as WatchdogEvent;
      if (event.event === 'started') resolve(identify(event.pid));
      if (event.event === 'failed') reject(new Error(event.message));
    });
    void watchdogGone.then(() => reject(new Error('its watchdog process ended unexpectedly')));
  });
  const ended = new Promise<string>((resolve) => {
    events.on('line', (line) => {
      const event = JSON.parse(line) as WatchdogEvent;
      if (event.event === 'ended') resolve(event.signal ?? `exit code ${event.code}`);
    });
    // After what it had to say was read.
    child.once('close', () => resolve('the loss of its watchdog'));
  });
  child.stdin.write(`${JSON.stringify(order)}\n`);

  let server: ProcessIdentity;
  try {
    server = await started;
  } catch (error) {
    rmSync(recordFile, { force: true });
    throw error;
  }
  writeRecord(recordFile, { watchdog, server });
  setReferenced(child, false);

  return {
    pid: server.pid,
    ended,
    stop: async () => {
      setReferenced(child, true);
      child.stdin.end('stop\n');
      await watchdogGone;
      if (isRunning(server)) await endProcess(server, order); // The watchdog was killed before it could.
      rmSync(recordFile, { force: true });
    },
  };
}

/**
 * Makes sure that no server of an earlier start still runs: waits `patienceMs` for one whose watchdog is ending it, then
 * ends it. Resolves once it is gone; resolves at once if there is none.
 */
export async function endPreviousServer(options: {
  readonly recordFile: string;
  readonly patienceMs: number;
  readonly stop: Pick<WatchdogOrder, 'stopSignals' | 'stopStepMs'>;
  readonly logger: Logger;
}): Promise<void> {
  const { watchdog, server } = readRecord(options.recordFile);
  const previous = [watchdog, server].filter((each) => each !== undefined && isRunning(each)) as ProcessIdentity[];
  if (previous.length > 0) {
    const pids = previous.map(({ pid }) => pid);
    options.logger.info({ pids }, 'waiting for an embedded server of an earlier start to end');
    // A server without its watchdog has nobody to end it, so waiting would be in vain.
    const patienceMs = watchdog !== undefined && isRunning(watchdog) ? options.patienceMs : 0;
    for (const each of previous) {
      if (!(await hasEndedWithin(each, patienceMs))) {
        options.logger.warn(
          { pid: each.pid },
          'an embedded server of an earlier start did not end by itself: ending it',
        );
        await endProcess(each, each === server ? options.stop : { stopSignals: ['SIGTERM'], stopStepMs: 20_000 });
      }
    }
  }
  rmSync(options.recordFile, { force: true });
}

/** Ends a process that is no child of ours: the signals in turn, SIGKILL last. */
export async function endProcess(
  target: ProcessIdentity,
  stop: Pick<WatchdogOrder, 'stopSignals' | 'stopStepMs'>,
): Promise<void> {
  for (const signal of stop.stopSignals) {
    signalProcess(target, signal);
    if (await hasEndedWithin(target, stop.stopStepMs)) return;
  }
  signalProcess(target, 'SIGKILL');
  await hasEndedWithin(target, 5_000);
}

export async function hasEndedWithin(target: ProcessIdentity, boundMs: number): Promise<boolean> {
  const deadline = performance.now() + boundMs;
  while (isRunning(target)) {
    if (performance.now() >= deadline) return false;
    await delay(20);
  }
  return true;
}

/** An unreferenced child does not keep this process alive: when it ends, the pipe closes and the watchdog acts. */
function setReferenced(child: ChildProcessByStdio<Writable, Readable, null>, referenced: boolean): void {
  for (const handle of [child, child.stdin, child.stdout] as { ref?(): void; unref?(): void }[]) {
    if (referenced) handle.ref?.();
    else handle.unref?.();
  }
}

function identify(pid: number): ProcessIdentity {
  return findProcess(pid) ?? { pid, startedAt: 'ended' };
}

function writeRecord(recordFile: string, record: ServerRecord): void {
  writeFileSync(`${recordFile}.new`, `${JSON.stringify(record)}\n`);
  renameSync(`${recordFile}.new`, recordFile);
}

function readRecord(recordFile: string): Partial<ServerRecord> {
  try {
    return JSON.parse(readFileSync(recordFile, 'utf8')) as ServerRecord;
  } catch {
    return {};
  }
}

function setAsideLongLog(logFile: string): void {
  const size = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
  if (size > longestLogBytes) renameSync(logFile, `${logFile}.1`);
}
