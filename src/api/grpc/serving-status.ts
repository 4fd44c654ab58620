import { create } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServerWritableStream } from '@grpc/grpc-js';
import { DomainError } from '../../domain/errors';
import {
  HealthCheckResponse_ServingStatus as Status,
  HealthCheckResponseSchema,
} from '../../proto/gen/grpc/health/v1/health_pb';
import type {
  Health,
  HealthCheckRequest,
  HealthCheckResponse,
  HealthListResponseSchema,
} from '../../proto/gen/grpc/health/v1/health_pb';
import type { RpcHandlers } from './rpc-handlers';

export interface ReadinessOptions {
  /** Asks whether calls would succeed now; what it throws means no. Without it the answer is always yes. */
  isReady?: () => Promise<boolean>;
  /** How long an answer counts. Milliseconds. Default: 2 s. */
  intervalMs?: number;
}

/**
 * The standard health service (https://github.com/grpc/grpc/blob/master/doc/health-checking.md): one status, for the server
 * (`''`) and each of its services. NOT_SERVING until `start`, while the process is not ready, and from `stop` on; whoever
 * watches is told of every change.
 *
 * Not grpc-health-check: the description that reflection gets from it is one that grpcurl refuses.
 */
export class ServingStatus implements RpcHandlers<typeof Health> {
  private readonly services: ReadonlySet<string>;
  private readonly watchers = new Set<() => void>();
  private status = Status.NOT_SERVING;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    services: readonly string[],
    private readonly readiness: ReadinessOptions = {},
  ) {
    this.services = new Set(['', ...services]);
  }

  async check({ service }: HealthCheckRequest): Promise<{ status: Status }> {
    if (this.services.has(service)) return { status: this.status };
    throw new DomainError('not_found', 'service.not_found', `there is no service ${JSON.stringify(service)} here`);
  }

  async list(): Promise<MessageInitShape<typeof HealthListResponseSchema>> {
    const { status } = this;
    return { statuses: Object.fromEntries([...this.services].map((service) => [service, { status }])) };
  }

  watch(call: ServerWritableStream<HealthCheckRequest, HealthCheckResponse>): void {
    const isKnown = this.services.has(call.request.service);
    const tell = (): void => {
      call.write(create(HealthCheckResponseSchema, { status: isKnown ? this.status : Status.SERVICE_UNKNOWN }));
    };
    tell();
    if (!isKnown) return;
    this.watchers.add(tell);
    // grpc-js says `cancelled` at the end of every stream.
    call.once('cancelled', () => this.watchers.delete(tell));
  }

  /** Resolves when the status is known for the first time. */
  async start(): Promise<void> {
    const { isReady, intervalMs = 2_000 } = this.readiness;
    const ready = isReady === undefined || (await isReady().catch(() => false));
    if (this.stopped) return;
    this.set(ready ? Status.SERVING : Status.NOT_SERVING);
    if (isReady !== undefined) this.timer = setTimeout(() => void this.start(), intervalMs).unref();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.set(Status.NOT_SERVING);
  }

  private set(status: Status): void {
    if (status === this.status) return;
    this.status = status;
    for (const tell of this.watchers) tell();
  }
}
