import type { Redis } from 'ioredis';
import { allPartitionKeys } from './room-keys';

/** An entry of a partition's stream, as `scripts/prelude.lua` writes it. */
export interface StreamEntry {
  kind: string;
  /** JSON. */
  text: string;
}

const beforeAll = '0-0';

/** The event streams of all partitions, read on a connection of their own: a read that waits lets nothing else through. */
export class EventStreams {
  private readonly keys = allPartitionKeys().map(({ events }) => events);
  private readonly after = new Map(this.keys.map((key) => [key, beforeAll]));

  constructor(
    private readonly redis: Redis,
    private readonly options: {
      /** How long a read waits for something to come. Milliseconds. */
      waitMs: number;
      /** Entries of one stream that a read takes at most. */
      most: number;
    },
  ) {}

  /** Passes over what is there now. */
  async skipToEnd(): Promise<void> {
    const lasts = await Promise.all(this.keys.map((key) => this.redis.xrevrange(key, '+', '-', 'COUNT', 1)));
    this.keys.forEach((key, place) => this.after.set(key, lasts[place]![0]?.[0] ?? beforeAll));
  }

  /** What came since the last read, each stream in its order; waits for it. Empty when nothing came. */
  async read(): Promise<StreamEntry[]> {
    const { waitMs, most } = this.options;
    const streams = await this.redis.xread(
      ...(['COUNT', most, 'BLOCK', waitMs, 'STREAMS'] as const),
      ...this.keys,
      ...this.keys.map((key) => this.after.get(key)!),
    );
    const entries: StreamEntry[] = [];
    for (const [key, added] of streams ?? []) {
      for (const [id, [kind = '', text = '']] of added) {
        this.after.set(key, id);
        entries.push({ kind, text });
      }
    }
    return entries;
  }
}
