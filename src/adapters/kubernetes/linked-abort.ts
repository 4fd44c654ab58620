/**
 * Aborts when one of the signals does that it is linked to, or on its own. `AbortSignal.any` leaves something behind on each of them
 * for every use, which fills the memory where one lives as long as the process; this leaves nothing after `release`.
 */
export class LinkedAbort {
  private readonly controller = new AbortController();
  private readonly links: { source: AbortSignal; pass: () => void }[] = [];

  constructor(...sources: readonly AbortSignal[]) {
    for (const source of sources) {
      if (source.aborted) this.controller.abort(source.reason);
      const pass = (): void => this.controller.abort(source.reason);
      source.addEventListener('abort', pass, { once: true });
      this.links.push({ source, pass });
    }
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  abort(): void {
    this.controller.abort();
  }

  /** From now on only `abort` aborts. */
  release(): void {
    for (const { source, pass } of this.links.splice(0)) source.removeEventListener('abort', pass);
  }
}
