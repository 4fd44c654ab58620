import { messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import type { InstanceChange, InstanceWatcher, RuntimeInstance } from '../../ports/runtime';

/** Why a watch session is over. */
export type FollowEnd = 'aborted' | 'connection_lost' | 'handler_failed';

/**
 * Hands one watch session to its watcher: the list first, then changes in order for one instance, of several side by side.
 * A handler that throws ends the session after `retryAfterMs`, in which other changes still pass.
 */
export class InstanceFollower {
  private readonly chains = new Map<string, Promise<void>>();
  private held: InstanceChange[] | null = [];
  private onHandlerFailure: () => void = () => undefined;
  private failureTimer: NodeJS.Timeout | null = null;

  constructor(
    private readonly watcher: InstanceWatcher,
    private readonly log: Logger,
    private readonly signal: AbortSignal,
    private readonly retryAfterMs: number,
  ) {}

  /** Takes a change in; before the list was handled, changes wait. */
  change(change: InstanceChange): void {
    if (this.held) {
      this.held.push(change);
      return;
    }
    const { id } = change.instance;
    const before = this.chains.get(id) ?? Promise.resolve();
    const chain = before.then(async () => {
      if (this.signal.aborted) return;
      try {
        await this.watcher.onChange(change);
      } catch (error) {
        this.failed(
          { room_id: id, type: change.type, error: messageOf(error) },
          'handling a change of an instance failed',
        );
      }
    });
    this.chains.set(id, chain);
    void chain.then(() => {
      if (this.chains.get(id) === chain) this.chains.delete(id);
    });
  }

  /** Resolves when the session is over and no handler is at work. */
  async follow(instances: RuntimeInstance[], closed: Promise<void>): Promise<FollowEnd> {
    let onAbort = (): void => undefined;
    const end = new Promise<FollowEnd>((resolve) => {
      onAbort = () => resolve('aborted');
      if (this.signal.aborted) onAbort();
      this.signal.addEventListener('abort', onAbort, { once: true });
      void closed.then(() => resolve('connection_lost'));
      this.onHandlerFailure = () => resolve('handler_failed');
    });
    try {
      if (!this.signal.aborted) await this.watcher.onList(instances);
      const held = this.held ?? [];
      this.held = null;
      for (const change of held) this.change(change);
    } catch (error) {
      // Without its list a watcher cannot make sense of changes: they stay held, the next session has a newer list.
      this.failed({ instances: instances.length, error: messageOf(error) }, 'handling the list of instances failed');
    }
    const why = await end;
    this.signal.removeEventListener('abort', onAbort);
    if (this.failureTimer) clearTimeout(this.failureTimer);
    while (this.chains.size > 0) await Promise.all(this.chains.values());
    return why;
  }

  private failed(fields: object, message: string): void {
    this.log.error(fields, message);
    this.failureTimer ??= setTimeout(() => this.onHandlerFailure(), this.retryAfterMs);
  }
}
