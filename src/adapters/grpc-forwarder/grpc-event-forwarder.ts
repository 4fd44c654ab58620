import { fromBinary } from '@bufbuild/protobuf';
import { Metadata, type ChannelOptions, type Client, type ClientUnaryCall, type ServiceError } from '@grpc/grpc-js';
import { deliveryCodes, type DeliveryOutcome } from '../../domain/event/delivery';
import { messageOf } from '../../domain/errors';
import type { EventMessage } from '../../domain/event/event';
import { EventForwarder, type ForwarderEndpoint } from '../../ports/event-forwarder';
import type { Metrics } from '../../ports/metrics';
import { ResponseSchema, type Response } from '../../proto/gen/eventforwarder/grpc_forwarder_pb';
import { ChannelCache } from './channel-cache';
import { encodeEvent, type EncodedEvent } from './encode-event';
import { ForwarderChannel } from './forwarder-channel';

export interface GrpcForwarderOptions {
  /** How often a connection on which calls wait is asked whether it lives; 0 means 15 s. Milliseconds. */
  keepAliveTimeMs: number;
  /** How long it may take to say so; 0 means 5 s. Milliseconds. */
  keepAliveTimeoutMs: number;
  /** A channel without connection for this long is replaced when it is called. Milliseconds. */
  patienceMs?: number;
  /** Channels that are kept although nobody uses them now. */
  channelLimit?: number;
  /** How long a channel is kept after its last use. Milliseconds. */
  channelIdleMs?: number;
}

/** Timers count no further, and nobody waits for 24 days. Milliseconds. */
const longestTimeoutMs = 2 ** 31 - 1;

export class GrpcEventForwarder extends EventForwarder {
  private readonly channels: ChannelCache<ForwarderChannel>;
  private readonly calls = new Set<ClientUnaryCall>();
  private isClosed = false;

  constructor(
    options: GrpcForwarderOptions,
    private readonly metrics: Metrics,
  ) {
    super();
    const { patienceMs = 10_000, channelLimit = 1_000, channelIdleMs = 10 * 60_000 } = options;
    const channelOptions = channelOptionsOf(options);
    this.channels = new ChannelCache((address) => new ForwarderChannel(address, channelOptions, patienceMs), {
      limit: channelLimit,
      idleMs: channelIdleMs,
    });
  }

  override async deliver(message: EventMessage, { address, timeoutMs }: ForwarderEndpoint): Promise<DeliveryOutcome> {
    if (this.isClosed) return { delivered: false, code: 'Canceled', reason: 'this process stops' };
    try {
      const event = encodeEvent(message);
      return await this.channels.use(address, ({ client }) => this.call(client, event, timeoutMs));
    } catch (error) {
      return { delivered: false, code: 'Unknown', reason: messageOf(error) };
    }
  }

  override async close(): Promise<void> {
    this.isClosed = true;
    for (const call of this.calls) call.cancel();
    this.channels.closeAll();
  }

  private call(client: Client, { method, path, bytes }: EncodedEvent, timeoutMs: number): Promise<DeliveryOutcome> {
    const startedAt = performance.now();
    const deadline = Date.now() + Math.min(Math.max(timeoutMs, 0), longestTimeoutMs);
    return new Promise((resolve) => {
      const call = client.makeUnaryRequest(
        path,
        (sent: Buffer) => sent,
        (received): Response => fromBinary(ResponseSchema, received),
        bytes,
        new Metadata(),
        { deadline },
        (error, response) => {
          this.calls.delete(call);
          const code = deliveryCodes[error?.code ?? 0] ?? 'Unknown';
          this.metrics.forwarderCalled(method, code, performance.now() - startedAt);
          resolve(error === null ? takenBy(response!) : { delivered: false, code, reason: reasonOf(error) });
        },
      );
      this.calls.add(call);
    });
  }
}

function takenBy({ code, message }: Response): DeliveryOutcome {
  return { delivered: true, responseCode: code, responseMessage: message };
}

function reasonOf({ details }: ServiceError): string {
  return details.replaceAll(/\s+/g, ' ').trim();
}

/** Every option of our channels, with its reason. */
export function channelOptionsOf({ keepAliveTimeMs, keepAliveTimeoutMs }: GrpcForwarderOptions): ChannelOptions {
  return {
    'grpc.keepalive_time_ms': keepAliveTimeMs || 15_000,
    'grpc.keepalive_timeout_ms': keepAliveTimeoutMs || 5_000,
    // Servers in Go end connections that are asked while nothing runs on them.
    'grpc.keepalive_permit_without_calls': 0,
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    // A TXT record could order retries, or another balancing.
    'grpc.service_config_disable_resolution': 1,
    // grpc-js adds up to a fifth at random: never more than 9.6 s from one attempt to connect to the next.
    'grpc.initial_reconnect_backoff_ms': 1_000,
    'grpc.max_reconnect_backoff_ms': 8_000,
    // Where a name points to other hosts now, that must not be seen later than a host that comes back.
    'grpc.dns_min_time_between_resolutions_ms': 5_000,
    'grpc.enable_http_proxy': 0,
  };
}
