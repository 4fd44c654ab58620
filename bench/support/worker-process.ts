import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import type { Databases } from './databases';

const register = resolve(__dirname, '../../test/support/swc-register.cjs');

/** What one of them was asked for, and answers. */
export interface WorkerOrder {
  postgresUrl: string;
  redisUrl: string;
  /** How long each call to the runtime takes. */
  runtimeDelayMs: number;
}

/** The worker's role in a process of its own, as it is deployed; only the runtime is pretended. */
export class WorkerProcess {
  private constructor(private readonly child: ChildProcess) {}

  static async start({ postgres, redisUrl }: Databases, runtimeDelayMs: number): Promise<WorkerProcess> {
    const order: WorkerOrder = { postgresUrl: postgres.url, redisUrl, runtimeDelayMs };
    const child = fork(join(__dirname, 'worker-main.ts'), [JSON.stringify(order)], {
      execArgv: ['-r', register, '-r', 'reflect-metadata'],
    });
    const worker = new WorkerProcess(child);
    await worker.answer();
    return worker;
  }

  /** Operations that it has ended so far. */
  async ended(): Promise<number> {
    this.child.send('count');
    return this.answer();
  }

  /** As a deployment stops it. */
  async stop(): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await exited;
  }

  private async answer(): Promise<number> {
    const ended = once(this.child, 'exit').then(() => {
      throw new Error('a worker of the benchmark ended');
    });
    ended.catch(() => undefined);
    const [answer] = (await Promise.race([once(this.child, 'message'), ended])) as [number];
    return answer;
  }
}
