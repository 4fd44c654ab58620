export interface CacheableChannel {
  /** It will not do any more: who asks next gets a new one. */
  isLost(): boolean;
  close(): void;
}

export interface ChannelCacheOptions {
  /** Channels that are kept although nobody uses them now. */
  limit: number;
  /** How long a channel is kept after its last use. Milliseconds. */
  idleMs: number;
}

interface Entry<Channel> {
  address: string;
  channel: Channel;
  uses: number;
  idleTimer: NodeJS.Timeout | undefined;
}

/**
 * One channel per address, shared by all who use it at the same time. A channel in use is never closed by others: neither by
 * the limit, which holds for those at rest, nor when it is lost, where it ends with its last use.
 */
export class ChannelCache<Channel extends CacheableChannel> {
  /** Least recently used first. */
  private readonly entries = new Map<string, Entry<Channel>>();

  constructor(
    private readonly open: (address: string) => Channel,
    private readonly options: ChannelCacheOptions,
  ) {}

  get size(): number {
    return this.entries.size;
  }

  /** @throws what `open` throws. */
  async use<T>(address: string, work: (channel: Channel) => Promise<T>): Promise<T> {
    const entry = this.take(address);
    try {
      return await work(entry.channel);
    } finally {
      this.giveBack(entry);
    }
  }

  /** Closes all channels, those in use included. Whoever asks later gets a new one. */
  closeAll(): void {
    for (const entry of this.entries.values()) {
      clearTimeout(entry.idleTimer);
      entry.channel.close();
    }
    this.entries.clear();
  }

  private take(address: string): Entry<Channel> {
    let entry = this.entries.get(address);
    if (entry?.channel.isLost()) {
      this.forget(entry);
      entry = undefined;
    }
    entry ??= this.openEntry(address);
    clearTimeout(entry.idleTimer);
    entry.uses++;
    this.entries.delete(address);
    this.entries.set(address, entry);
    return entry;
  }

  private openEntry(address: string): Entry<Channel> {
    const channel = this.open(address);
    for (const entry of this.entries.values()) {
      if (this.entries.size < this.options.limit) break;
      if (entry.uses === 0) this.forget(entry);
    }
    return { address, channel, uses: 0, idleTimer: undefined };
  }

  private giveBack(entry: Entry<Channel>): void {
    entry.uses--;
    if (entry.uses > 0) return;
    if (this.entries.get(entry.address) !== entry) entry.channel.close();
    else if (this.entries.size > this.options.limit) this.forget(entry);
    else entry.idleTimer = setTimeout(() => this.forget(entry), this.options.idleMs).unref();
  }

  private forget(entry: Entry<Channel>): void {
    clearTimeout(entry.idleTimer);
    this.entries.delete(entry.address);
    if (entry.uses === 0) entry.channel.close();
  }
}
