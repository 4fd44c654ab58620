import { eventually } from './eventually';
import { MaestroProcess, freePorts } from './maestro-process';

/** So many worker processes, always: one that ends is replaced at once, as an orchestrator does. */
export class WorkerPool {
  /** What workers wrote that ended although nobody killed them. */
  readonly crashes: string[] = [];
  private readonly places: Promise<void>[] = [];
  private readonly running = new Map<number, MaestroProcess>();
  private stopping = false;

  constructor(
    private readonly size: number,
    private readonly environment: Record<string, string>,
  ) {}

  async start(): Promise<void> {
    for (let place = 0; place < this.size; place++) this.places.push(this.keepRunning(place));
    await eventually(() => {
      if (this.running.size < this.size) throw new Error(`${this.running.size} of ${this.size} workers were started`);
    });
    await Promise.all([...this.running.values()].map((worker) => worker.ready()));
  }

  /** What each of them answers when it is asked whether it is ready. */
  readiness(): Promise<number[]> {
    return Promise.all([...this.running.values()].map((worker) => worker.readiness()));
  }

  /** SIGKILL for one of them; `choice` is from 0 to 1. */
  async killOne(choice: number): Promise<void> {
    const worker = [...this.running.values()][Math.floor(choice * this.running.size)];
    await worker?.kill();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all([...this.running.values()].map((worker) => worker.kill()));
    await Promise.all(this.places);
  }

  private async keepRunning(place: number): Promise<void> {
    while (!this.stopping) {
      const worker = new MaestroProcess(['start', '--role', 'worker'], await freePorts(), this.environment);
      this.running.set(place, worker);
      if (this.stopping) await worker.kill();
      const { code, signal } = await worker.ended;
      // A port that was free a moment ago may be taken by now: that one is no crash.
      if (signal !== 'SIGKILL' && !worker.output.includes('EADDRINUSE')) {
        this.crashes.push(`ended with ${code ?? signal}:\n${worker.output}`);
      }
    }
  }
}
