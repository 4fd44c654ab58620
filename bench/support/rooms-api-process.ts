import { execFileSync, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Databases } from './databases';

const register = resolve(__dirname, '../../test/support/swc-register.cjs');

export interface RoomsApiOrder {
  postgresUrl: string;
  redisUrl: string;
}

export interface RoomsApiAddress {
  restPort: number;
  grpcPort: number;
}

/** The role rooms-api in a process of its own, as it is deployed. */
export class RoomsApiProcess {
  private constructor(
    private readonly child: ChildProcess,
    readonly address: RoomsApiAddress,
  ) {}

  /** `BENCH_NODE_OPTIONS="--cpu-prof --cpu-prof-dir=DIR"` shows where its time goes. */
  static async start({ postgres, redisUrl }: Databases): Promise<RoomsApiProcess> {
    const order: RoomsApiOrder = { postgresUrl: postgres.url, redisUrl };
    const more = (process.env.BENCH_NODE_OPTIONS ?? '').split(' ').filter((option) => option !== '');
    const child = fork(join(__dirname, 'rooms-api-main.ts'), [JSON.stringify(order)], {
      execArgv: [...more, '-r', register, '-r', 'reflect-metadata'],
    });
    const ended = once(child, 'exit').then(() => {
      throw new Error('the rooms API of the benchmark ended');
    });
    ended.catch(() => undefined);
    const [address] = (await Promise.race([once(child, 'message'), ended])) as [RoomsApiAddress];
    return new RoomsApiProcess(child, address);
  }

  /** CPU time that all of its threads have used so far, as Linux counts it. Milliseconds, in steps of its clock (10 ms). */
  cpuMs(): number {
    const stat = readFileSync(`/proc/${this.child.pid}/stat`, 'utf8');
    // After the name, which may hold blanks: fields 14 and 15 of proc(5) are user and system time.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[11]) + Number(fields[12])) / ticksPerSecond()) * 1_000;
  }

  /** Memory that is its own. Bytes. */
  residentBytes(): number {
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8')) ?? [];
    return Number(kilobytes) * 1_024;
  }

  async stop(): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await exited;
  }
}

let ticks: number | undefined;
function ticksPerSecond(): number {
  return (ticks ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' })));
}
