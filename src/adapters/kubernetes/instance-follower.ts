import { isDeepStrictEqual } from 'node:util';
import { messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import type { InstanceChange, InstanceWatcher, RuntimeInstance } from '../../ports/runtime';
import type { Pod } from './kubernetes-objects';
import { pauseMs } from './list-watch';
import { instanceOf, readPod, type PodReading } from './read-instance';

interface Told {
  reading: PodReading;
  instance: RuntimeInstance;
}

/** Of an end, the pod as it was last seen. */
type Waiting = InstanceChange & { lastSeen?: Pod };

/**
 * Turns pods into what a watcher hears: each pod's changes one after the other, several pods side by side. What changes a pod
 * but not its instance (heartbeats, conditions) is not told. A handler that throws makes for a new list after a back-off,
 * in which other changes still pass: the truth that it missed is told again.
 */
export class InstanceFollower {
  private readonly told = new Map<string, Told>();
  /** Changes that wait for each pod; the first one is being handled. */
  private readonly waiting = new Map<string, Waiting[]>();
  private readonly atWork = new Set<Promise<void>>();
  private failures = 0;
  private failureTimer: NodeJS.Timeout | null = null;

  constructor(
    private readonly watcher: InstanceWatcher,
    private readonly addressOf: (nodeName: string | null) => string | null,
    private readonly relist: () => void,
    /**
     * Whether a pod of which its watch says that it is gone may still be there, and why it then is not ours. Null: it is gone.
     * When it throws nobody knows, and the end is not told: the new list lacks the pod.
     */
    private readonly whyDisowned: (pod: Pod) => Promise<string | null>,
    private readonly log: Logger,
    private readonly signal: AbortSignal,
  ) {}

  async list(pods: Pod[]): Promise<void> {
    // An end that was told before this list must not be handled after it: the name may be in use again.
    await this.idle();
    if (this.signal.aborted) return;
    this.told.clear();
    const instances = pods.map((pod) => {
      const reading = readPod(pod);
      const instance = instanceOf(reading, this.addressOf(reading.nodeName));
      this.told.set(keyOf(instance), { reading, instance });
      return instance;
    });
    await this.watcher.onList(instances);
  }

  present(pod: Pod): void {
    this.tell(this.read(pod));
  }

  gone(pod: Pod): void {
    const key = keyOf(readPod(pod).instance);
    const reading = this.read(pod);
    const instance = instanceOf(reading, this.addressOf(reading.nodeName));
    this.told.delete(key);
    const { status } = instance;
    const isByItself = status === 'error' || status === 'terminating';
    this.enqueue(key, {
      type: 'gone',
      instance: {
        ...instance,
        // One that never ran is deleted without a word before; nothing that is gone is pending or ready.
        status: status === 'error' ? 'error' : 'terminating',
        ...(isByItself ? {} : { ending: 'deleted' as const }),
      },
      lastSeen: pod,
    });
  }

  /** A node got another address: so did what runs there. */
  nodeChanged(nodeName: string): void {
    for (const { reading } of [...this.told.values()]) if (reading.nodeName === nodeName) this.tell(reading);
  }

  /** Resolves when no handler is at work. */
  async idle(): Promise<void> {
    while (this.atWork.size > 0) await Promise.all(this.atWork);
  }

  stop(): void {
    if (this.failureTimer !== null) clearTimeout(this.failureTimer);
  }

  /** What somebody deleted comes to its end by that, though in its last moments it looks as if it had ended by itself. */
  private read(pod: Pod): PodReading {
    const reading = readPod(pod);
    const ending = this.told.get(keyOf(reading.instance))?.reading.instance.ending;
    return ending === undefined ? reading : { ...reading, instance: { ...reading.instance, ending } };
  }

  private tell(reading: PodReading): void {
    const key = keyOf(reading.instance);
    const instance = instanceOf(reading, this.addressOf(reading.nodeName));
    const before = this.told.get(key);
    this.told.set(key, { reading, instance });
    if (before === undefined || !isSame(before.instance, instance)) {
      this.enqueue(key, { type: 'present', instance });
    }
  }

  private enqueue(key: string, change: Waiting): void {
    const queue = this.waiting.get(key);
    if (queue === undefined) {
      const queued = [change];
      this.waiting.set(key, queued);
      const work = this.handle(key, queued).finally(() => this.atWork.delete(work));
      this.atWork.add(work);
      return;
    }
    const last = queue.length > 1 ? queue.at(-1) : undefined;
    // Behind a slow handler only the newest of equal steps counts; the steps themselves are all told.
    const replaces = last?.type === 'present' && change.type === 'present' && isSameStep(last, change);
    if (replaces) queue[queue.length - 1] = change;
    else queue.push(change);
  }

  private async handle(key: string, queue: Waiting[]): Promise<void> {
    for (let change = queue[0]; change !== undefined && !this.signal.aborted; change = queue[0]) {
      try {
        await this.watcher.onChange(await this.completed(change));
        this.failures = this.failureTimer === null ? 0 : this.failures;
      } catch (error) {
        this.failed(change, error);
      }
      queue.shift();
    }
    this.waiting.delete(key);
  }

  /** An end with what became of the pod. */
  private async completed({ type, instance, lastSeen }: Waiting): Promise<InstanceChange> {
    const because = lastSeen === undefined ? null : await this.whyDisowned(lastSeen);
    if (because === null) return { type, instance };
    return { type, instance: { ...instance, status: 'terminating', description: because, ending: 'disowned' } };
  }

  private failed({ type, instance }: InstanceChange, error: unknown): void {
    this.log.error(
      { scheduler_name: instance.scheduler, room_id: instance.id, type, err: messageOf(error) },
      'handling a change of an instance failed',
    );
    this.failureTimer ??= setTimeout(() => {
      this.failureTimer = null;
      this.relist();
    }, pauseMs(++this.failures));
  }
}

function isSame(a: RuntimeInstance, b: RuntimeInstance): boolean {
  return isDeepStrictEqual({ ...a, generation: 0 }, { ...b, generation: 0 });
}

function isSameStep(a: InstanceChange, b: InstanceChange): boolean {
  return a.instance.status === b.instance.status && a.instance.createdAtMs === b.instance.createdAtMs;
}

function keyOf({ scheduler, id }: { scheduler: string; id: string }): string {
  return `${scheduler}/${id}`;
}
