import { execFileSync } from 'node:child_process';

/** Processes that are stopped as by a debugger: their connections stay open, and nobody reads them. */
export class PausedProcesses {
  private readonly pids: number[] = [];

  /** The parent first, so that no child escapes by being born meanwhile. */
  pauseWithChildren(parent: number): void {
    this.pause(parent);
    for (const pid of childrenOf(parent)) this.pause(pid);
  }

  resume(): void {
    for (const pid of this.pids.splice(0)) signal(pid, 'SIGCONT');
  }

  private pause(pid: number): void {
    signal(pid, 'SIGSTOP');
    this.pids.push(pid);
  }
}

function childrenOf(parent: number): number[] {
  return execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([pid, ppid]) => (ppid === parent ? [pid!] : []));
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It has ended by itself.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
