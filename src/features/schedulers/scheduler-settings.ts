import { Injectable } from '@nestjs/common';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { SchedulerStore, type SchedulerSettings } from '../../ports/scheduler-store';
import { repeatUntilAborted } from '../repeat-until-aborted';

export class SchedulerSettingsOptions {
  /** How long a change may go unseen if its notification was lost. Milliseconds. */
  readonly pollIntervalMs!: number;
}

/** A name that the last read did not have is believed unknown for this long: pings of dead schedulers are no queries. */
const unknownForMs = 500;

/**
 * What the hot paths need of every scheduler, in process memory: a ping must not cost a query. Refreshed by notification
 * and by a slow poll; a name that is not there is asked for once.
 */
@Injectable()
export class SchedulerSettingsCache {
  private settings = new Map<string, SchedulerSettings>();
  private current: Promise<void> | null = null;
  private following: Promise<void> | null = null;
  private lastReadAt = -Infinity;
  private readonly listeners: ((name: string | null) => void)[] = [];
  private readonly endListeners: ((name: string) => void)[] = [];

  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: SchedulerSettingsOptions,
  ) {}

  /**
   * Calls `listener` with the name of each scheduler that was changed, and with null when changes may have been missed: with each
   * round of the poll, unless the database is away. For what else is kept in memory of schedulers; it must not throw.
   */
  onChange(listener: (name: string | null) => void): void {
    this.listeners.push(listener);
  }

  /** Calls `listener` with the name of each scheduler that is found to be deleted, or being deleted, since the read before. It must not throw. */
  onEnd(listener: (name: string) => void): void {
    this.endListeners.push(listener);
  }

  /** Keeps the memory fresh until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { metrics, logger } = this;
    const loop = { name: 'scheduler_settings', intervalMs: this.options.pollIntervalMs, metrics, logger };
    const onChange = (name: string | null): void => {
      this.tell(name);
      this.refresh().catch((error: unknown) => logger.warn({ err: String(error) }, 'scheduler settings are stale'));
    };
    await Promise.all([
      this.schedulers.watchChanges(onChange, signal),
      repeatUntilAborted(loop, signal, async () => {
        await this.refresh();
        // After it: while the database is away, what was known of schedulers is all there is.
        this.tell(null);
      }),
    ]);
  }

  /** Every scheduler there is, read anew. */
  async names(): Promise<string[]> {
    await this.refresh();
    return [...this.settings.keys()];
  }

  /** Null for a scheduler that does not exist. Costs a read at most twice a second, however many unknown names are asked. */
  async find(name: string): Promise<SchedulerSettings | null> {
    const known = this.settings.get(name);
    if (known !== undefined) return known;
    if (this.current !== null) await this.current;
    else if (performance.now() - this.lastReadAt > unknownForMs) await this.refresh();
    return this.settings.get(name) ?? null;
  }

  private tell(name: string | null): void {
    for (const listener of this.listeners) listener(name);
  }

  /** Reads everything anew. Who asks during a read shares the one after it, which sees what they know of. */
  private refresh(): Promise<void> {
    if (this.current === null) return this.startRead();
    this.following ??= this.current
      .catch(() => undefined)
      .then(() => {
        this.following = null;
        return this.startRead();
      });
    return this.following;
  }

  private startRead(): Promise<void> {
    this.current = this.read().finally(() => (this.current = null));
    return this.current;
  }

  private async read(): Promise<void> {
    this.lastReadAt = performance.now();
    const settings = await this.schedulers.listSettings().catch((error: unknown) => {
      // A read that failed knows of nobody's absence: who asks next asks again, and hears why it is not known.
      this.lastReadAt = -Infinity;
      throw error;
    });
    const former = this.settings;
    this.settings = new Map(settings.map((each) => [each.name, each]));
    for (const [name, { isTerminating }] of former) {
      const now = this.settings.get(name);
      if (now === undefined) this.metrics.schedulerDeleted(name);
      if (!isTerminating && (now?.isTerminating ?? true)) for (const listener of this.endListeners) listener(name);
    }
  }
}
