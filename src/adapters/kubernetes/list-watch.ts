import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import { ApiFailure } from './api-failure';
import type { KubernetesApi } from './kubernetes-api';
import type { KubernetesObject } from './kubernetes-objects';
import { LinkedAbort } from './linked-abort';

export interface ListWatchHandlers<T extends KubernetesObject> {
  /** The whole truth at one moment; awaited before the watch goes on from that moment. A throw makes for a new list. */
  onList(items: T[]): Promise<void>;
  onEvent(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: T): void;
}

const firstPauseMs = 100;
const lastPauseMs = 5_000;
/** A server that asks to be left alone for longer is asked again all the same. Milliseconds. */
const longestRetryAfterMs = 60_000;
/** A watch that was open for so long worked, also when nothing happened on it. Milliseconds. */
const provenAfterMs = 5_000;

/**
 * Keeps a kind of objects in view: a list, and from its version on one watch. A watch that ends is resumed where it was, so
 * that nothing is missed and nothing is listed without need; a version that the server has forgotten makes for a new list, and so
 * does a watch that was silent.
 */
export class ListWatch<T extends KubernetesObject> {
  private session = new AbortController();
  private version: string | null = null;

  constructor(
    private readonly api: KubernetesApi,
    private readonly what: { path: string; query: Readonly<Record<string, string>>; name: string },
    private readonly handlers: ListWatchHandlers<T>,
    private readonly log: Logger,
  ) {}

  /** Everything is to be told anew. */
  relist(): void {
    this.version = null;
    this.session.abort();
  }

  /** Until `signal` aborts; does not reject. */
  async run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted;) {
      this.session = new AbortController();
      let openedMs = Infinity;
      let events = 0;
      let failure: unknown = null;
      try {
        await this.listWhereNeeded(signal);
        await this.follow(signal, { onOpen: () => (openedMs = performance.now()), onEvent: () => events++ });
      } catch (error) {
        failure = error;
      }
      if (signal.aborted) return;
      const hasWorked = events > 0 || performance.now() - openedMs > provenAfterMs;
      // One that the server ends at once is no better than one that fails.
      failures = hasWorked ? (failure === null ? 0 : 1) : failures + 1;
      if (failure !== null) this.report(failure, failures);
      // A new list that was asked for is made at once: who asked has waited.
      if (failures === 0 || this.session.signal.aborted) continue;
      const askedMs = failure instanceof ApiFailure ? (failure.facts.retryAfterMs ?? 0) : 0;
      const restMs = Math.max(pauseMs(failures), Math.min(askedMs, longestRetryAfterMs));
      await sleep(restMs, undefined, { signal }).catch(() => undefined);
    }
  }

  private async listWhereNeeded(signal: AbortSignal): Promise<void> {
    if (this.version !== null) return;
    const { items, resourceVersion } = await this.api.list<T>(this.what.path, this.what.query);
    if (signal.aborted) return;
    await this.handlers.onList(items);
    // Unless another list was asked for meanwhile.
    if (!this.session.signal.aborted) this.version = resourceVersion;
  }

  private async follow(until: AbortSignal, heard: { onOpen: () => void; onEvent: () => void }): Promise<void> {
    const linked = new LinkedAbort(until, this.session.signal);
    const { signal } = linked;
    try {
      if (signal.aborted || this.version === null) return;
      await this.api.watch<T>(this.what.path, this.what.query, this.version, signal, {
        onOpen: heard.onOpen,
        onEvent: ({ type, object }) => {
          // What was asked anew goes on from its list.
          if (signal.aborted) return;
          this.version = object.metadata?.resourceVersion ?? this.version;
          heard.onEvent();
          if (type !== 'BOOKMARK' && type !== 'ERROR') this.handlers.onEvent(type, object);
        },
      });
    } finally {
      linked.release();
    }
  }

  private report(error: unknown, failures: number): void {
    const { name } = this.what;
    if (error instanceof ApiFailure && error.needsList) this.version = null;
    if (error instanceof ApiFailure && error.isExpired) {
      this.log.info({ watch: name }, 'the version that a watch was at is forgotten; it begins anew with a list');
    } else {
      this.log.warn({ watch: name, failures, err: messageOf(error) }, 'a watch of Kubernetes was interrupted');
    }
  }
}

/** Doubles from 0.1 s to 5 s, less up to a fifth at random. */
export function pauseMs(failures: number): number {
  return Math.min(lastPauseMs, firstPauseMs * 2 ** Math.min(failures - 1, 10)) * (1 - Math.random() / 5);
}
