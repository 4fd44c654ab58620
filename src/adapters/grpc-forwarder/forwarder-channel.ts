import { setMaxListeners } from 'node:events';
import { Client, connectivityState, credentials, type ChannelOptions } from '@grpc/grpc-js';
import { abortableConnections } from './abortable-connections';
import type { CacheableChannel } from './channel-cache';

/** One gRPC channel: what one address needs, as many connections as its name stands for. */
export class ForwarderChannel implements CacheableChannel {
  readonly client: Client;
  private readonly closing = new AbortController();
  private withoutConnectionSinceMs: number | null = null;

  /**
   * Without connection for `patienceMs`, it is lost.
   * @throws Error when no target can be made of the address.
   */
  constructor(
    address: string,
    channelOptions: ChannelOptions,
    private readonly patienceMs: number,
  ) {
    // Every connection listens; a name may stand for many.
    setMaxListeners(0, this.closing.signal);
    const insecure = credentials.createInsecure();
    const { target, ...own } = abortableConnections(hostAndPort(address), insecure, this.closing.signal);
    this.client = new Client(target, own.credentials, { ...channelOptions, ...own.options });
    this.watchState();
  }

  /** It may be waiting for an answer that never comes. */
  isLost(): boolean {
    const sinceMs = this.withoutConnectionSinceMs;
    return sinceMs !== null && performance.now() - sinceMs >= this.patienceMs;
  }

  /** Calls that are still on their way fail. Idempotent. */
  close(): void {
    this.client.close();
    this.closing.abort();
  }

  private watchState(): void {
    const channel = this.client.getChannel();
    const state = channel.getConnectivityState(false);
    if (state === connectivityState.SHUTDOWN) return;
    if (state === connectivityState.READY || state === connectivityState.IDLE) this.withoutConnectionSinceMs = null;
    else this.withoutConnectionSinceMs ??= performance.now();
    channel.watchConnectivityState(state, Infinity, () => this.watchState());
  }
}

/**
 * What v10 takes for an address: `dns:` may stand before it, and no host is this one. No other scheme gets through: `unix:`
 * is a name for DNS here.
 */
function hostAndPort(address: string): string {
  if (address === '') throw new Error('the forwarder has no address');
  return address.replace(/^dns:(\/\/\/)?/, '').replace(/^:(?=\d+$)/, 'localhost:');
}
