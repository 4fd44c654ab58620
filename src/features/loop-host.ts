import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';

/** Something that works until it is told to stop. */
export interface Loop {
  run(signal: AbortSignal): Promise<void>;
}

/** Runs the loops of a role for as long as its application lives; closing the application waits for their end. */
export class LoopHost implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly stop = new AbortController();
  private running: Promise<unknown> = Promise.resolve();

  constructor(private readonly loops: Loop[]) {}

  onApplicationBootstrap(): void {
    this.running = Promise.all(this.loops.map((loop) => loop.run(this.stop.signal)));
    // Loops handle their failures; one that ends with an error is a defect, and must not go unseen.
    this.running.catch((error: unknown) => {
      process.nextTick(() => {
        throw error;
      });
    });
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stop.abort();
    await this.running;
  }
}
