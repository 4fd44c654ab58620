import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';

const register = resolve(__dirname, '../../test/support/swc-register.cjs');

export interface WatcherOrder {
  postgresUrl: string;
  redisUrl: string;
  /** An API server that asks for no credentials. */
  apiServerUrl: string;
}

export interface WatcherMemory {
  /** On the heap and beside it, after a collection. */
  heldBytes: number;
  residentBytes: number;
}

/** The runtime watcher's role in a process of its own, as it is deployed. */
export class WatcherProcess {
  private constructor(private readonly child: ChildProcess) {}

  static async start(order: WatcherOrder): Promise<WatcherProcess> {
    const child = fork(join(__dirname, 'watcher-main.ts'), [JSON.stringify(order)], {
      execArgv: ['--expose-gc', '-r', register, '-r', 'reflect-metadata'],
    });
    const watcher = new WatcherProcess(child);
    await watcher.answer();
    return watcher;
  }

  memory(): Promise<WatcherMemory> {
    this.child.send('memory');
    return this.answer();
  }

  /** As a deployment stops it. */
  async stop(): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await exited;
  }

  private async answer(): Promise<WatcherMemory> {
    const ended = once(this.child, 'exit').then(() => {
      throw new Error('the watcher of the benchmark ended');
    });
    ended.catch(() => undefined);
    const [answer] = (await Promise.race([once(this.child, 'message'), ended])) as [WatcherMemory];
    return answer;
  }
}
