type ScriptArgument = string | number;

interface OpenCall {
  loads: string;
  args: ScriptArgument[];
  pings: { resolve: (answer: unknown) => void; reject: (error: unknown) => void }[];
}

/** So that one call makes others wait for some 2 ms at most. */
const mostPingsOfACall = 50;

/**
 * Makes one call of the pings of a scheduler that arrive within a turn of the event loop. A lone ping costs what it did; of 20
 * in a turn each costs a third of the work here and half of it in Redis (measured), because most of a ping is the call.
 *
 * Pings are sent in the order in which they were added. When a call fails, all its pings do.
 */
export class GatheredPings {
  private readonly openCalls = new Map<string, OpenCall>();
  private isScheduled = false;

  constructor(private readonly call: (scheduler: string, args: ScriptArgument[]) => Promise<unknown[]>) {}

  /** `loads` and `ping`: as `scripts/apply-pings.lua` takes them. Answers what the script says of this ping. */
  add(scheduler: string, loads: string, ping: ScriptArgument[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      let open = this.openCalls.get(scheduler);
      if (open !== undefined && open.loads !== loads) {
        // The scheduler's settings changed in between: a room's earlier ping must not come after its later one.
        this.send(scheduler, open);
        open = undefined;
      }
      if (open === undefined) {
        open = { loads, args: [loads], pings: [] };
        this.openCalls.set(scheduler, open);
      }
      open.args.push(...ping);
      open.pings.push({ resolve, reject });
      if (open.pings.length >= mostPingsOfACall) this.send(scheduler, open);
      else this.schedule();
    });
  }

  /** Not a microtask: between the requests of different connections all of those run. */
  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      for (const [scheduler, open] of this.openCalls) this.send(scheduler, open);
    });
  }

  private send(scheduler: string, { args, pings }: OpenCall): void {
    this.openCalls.delete(scheduler);
    this.call(scheduler, args).then(
      (answers) => pings.forEach(({ resolve }, place) => resolve(answers[place])),
      (error: unknown) => pings.forEach(({ reject }) => reject(error)),
    );
  }
}
