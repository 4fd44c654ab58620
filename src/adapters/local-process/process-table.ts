import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** A living process that carries a room's marker in its environment. */
export interface MarkedProcess {
  pid: number;
  identity: string;
  /** It leads its own session and group, as the first process of a container does; its children do not. */
  leader: boolean;
  environment: Record<string, string>;
}

/** The variable that carries `StatePaths.marker` in every process of a room. */
export const markerVariable = 'MAESTRO_LOCAL_RUNTIME';

/** What the machine says about processes. A zombie has ended: it only waits for a parent that may never come. */
export interface ProcessTable {
  /**
   * The identity of each process that lives; the others are missing from the answer. Numbers of processes are used again,
   * so a process is the one that we knew only if its identity (its start time) is the same.
   */
  identify(pids: readonly number[]): Promise<Map<number, string>>;
  /** Every living process with this marker. Empty where the system does not show environments (not Linux). */
  findMarked(marker: string): Promise<MarkedProcess[]>;
}

export function processTableOfThisMachine(): ProcessTable {
  if (process.platform === 'linux') return new LinuxProcessTable();
  return process.platform === 'win32' ? new SignalProcessTable() : new PsProcessTable();
}

interface Stat {
  state: string;
  group: number;
  session: number;
  startTicks: string;
}

/** `/proc/<pid>/stat`, proc(5). The name in brackets may itself hold spaces and brackets. */
export function parseStat(text: string): Stat {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    state: fields[0] ?? '',
    group: Number(fields[2]),
    session: Number(fields[3]),
    startTicks: fields[19] ?? '',
  };
}

export class LinuxProcessTable implements ProcessTable {
  /** Start times count from boot, so the same number may come back after a restart of the machine. */
  private readonly bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();

  identify(pids: readonly number[]): Promise<Map<number, string>> {
    const living = new Map<number, string>();
    for (const pid of pids) {
      const stat = this.livingStat(pid);
      if (stat) living.set(pid, this.identityOf(stat));
    }
    return Promise.resolve(living);
  }

  findMarked(marker: string): Promise<MarkedProcess[]> {
    const wanted = `${markerVariable}=${marker}`;
    const found: MarkedProcess[] = [];
    for (const entry of readdirSync('/proc')) {
      const pid = Number(entry);
      if (!Number.isInteger(pid)) continue;
      const text = readOrNull(`/proc/${pid}/environ`);
      if (!text?.includes(wanted)) continue;
      const variables = text.split('\0');
      if (!variables.includes(wanted)) continue;
      const stat = this.livingStat(pid);
      if (!stat) continue;
      found.push({
        pid,
        identity: this.identityOf(stat),
        leader: stat.session === pid && stat.group === pid,
        environment: Object.fromEntries(variables.filter((v) => v.includes('=')).map(splitVariable)),
      });
    }
    return Promise.resolve(found);
  }

  private livingStat(pid: number): Stat | null {
    const text = readOrNull(`/proc/${pid}/stat`);
    if (text === null) return null;
    const stat = parseStat(text);
    return stat.state === 'Z' || stat.state === 'X' ? null : stat;
  }

  /** The session too: a start time is a hundredth of a second, and rooms and supervisors lead sessions of their own. */
  private identityOf(stat: Stat): string {
    return `${this.bootId}:${stat.startTicks}:${stat.session}`;
  }
}

/** macOS and the BSDs: `ps` knows start times to the second. */
class PsProcessTable implements ProcessTable {
  async identify(pids: readonly number[]): Promise<Map<number, string>> {
    const living = new Map<number, string>();
    if (pids.length === 0) return living;
    const text = await new Promise<string>((resolve) => {
      // A missing pid makes ps exit with 1 and still print the others.
      execFile('ps', ['-o', 'pid=,stat=,lstart=', '-p', pids.join(',')], (_error, stdout) => resolve(stdout));
    });
    for (const line of text.split('\n')) {
      const [, pid, state, started] = /^\s*(\d+)\s+(\S+)\s+(.+?)\s*$/.exec(line) ?? [];
      if (pid && state && started && !state.startsWith('Z')) living.set(Number(pid), started);
    }
    return living;
  }

  findMarked(): Promise<MarkedProcess[]> {
    return Promise.resolve([]);
  }
}

/** Windows: only whether the number is in use. A number that was given to another program cannot be told apart. */
class SignalProcessTable implements ProcessTable {
  identify(pids: readonly number[]): Promise<Map<number, string>> {
    const living = new Map<number, string>();
    for (const pid of pids) {
      try {
        process.kill(pid, 0);
        living.set(pid, 'in use');
      } catch {
        // Not in use.
      }
    }
    return Promise.resolve(living);
  }

  findMarked(): Promise<MarkedProcess[]> {
    return Promise.resolve([]);
  }
}

/** Null when the process is gone, or is not ours to look at. */
function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function splitVariable(text: string): [string, string] {
  const at = text.indexOf('=');
  return [text.slice(0, at), text.slice(at + 1)];
}
