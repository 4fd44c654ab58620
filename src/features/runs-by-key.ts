/**
 * Runs something per key, never twice at once: who asks during a run has one more run after it, however many ask. Each request is
 * so followed by a run that began after it.
 */
export class RunsByKey {
  /** Keys that run now, and whether they are to run once more. */
  private readonly isAskedAgain = new Map<string, boolean>();

  /** `run` must not fail: nobody is there to hear it. */
  constructor(private readonly run: (key: string) => Promise<void>) {}

  ask(key: string): void {
    if (this.isAskedAgain.has(key)) this.isAskedAgain.set(key, true);
    else void this.runUntilQuiet(key);
  }

  private async runUntilQuiet(key: string): Promise<void> {
    try {
      do {
        this.isAskedAgain.set(key, false);
        await this.run(key);
      } while (this.isAskedAgain.get(key) === true);
    } finally {
      this.isAskedAgain.delete(key);
    }
  }
}
