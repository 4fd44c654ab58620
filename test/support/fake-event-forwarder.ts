import { setTimeout as sleep } from 'node:timers/promises';
import type { DeliveryCode, DeliveryOutcome } from '../../src/domain/event/delivery';
import type { EventMessage } from '../../src/domain/event/event';
import { EventForwarder, type ForwarderEndpoint } from '../../src/ports/event-forwarder';

/** What a backend does with an event: an answer, a failure, or nothing for as long as one waits. */
export type BackendConduct =
  { code: number; message?: string } | { failure: DeliveryCode; reason: string } | 'never answers';

/**
 * Backends in memory, by address, that do what a test says; an address without one is unreachable. It keeps the promises of
 * the port (`test/contract/event-forwarder.contract.ts`).
 */
export class FakeEventForwarder extends EventForwarder {
  /** What was sent, in order, whatever became of it. */
  readonly sent: { message: EventMessage; endpoint: ForwarderEndpoint }[] = [];
  private readonly conducts = new Map<string, BackendConduct>();
  private readonly closing = new AbortController();

  setBackend(address: string, conduct: BackendConduct): void {
    this.conducts.set(address, conduct);
  }

  removeBackend(address: string): void {
    this.conducts.delete(address);
  }

  override async deliver(message: EventMessage, endpoint: ForwarderEndpoint): Promise<DeliveryOutcome> {
    const canceled: DeliveryOutcome = { delivered: false, code: 'Canceled', reason: 'closed' };
    if (this.closing.signal.aborted) return canceled;
    if (endpoint.address === '') return { delivered: false, code: 'Unknown', reason: 'the forwarder has no address' };
    this.sent.push({ message, endpoint });
    const conduct = this.conducts.get(endpoint.address);
    if (conduct === undefined) return { delivered: false, code: 'Unavailable', reason: 'nobody listens there' };
    if (conduct === 'never answers') {
      try {
        await sleep(Math.max(endpoint.timeoutMs, 0), undefined, { signal: this.closing.signal });
      } catch {
        return canceled;
      }
      return { delivered: false, code: 'DeadlineExceeded', reason: `no answer in ${endpoint.timeoutMs} ms` };
    }
    if ('failure' in conduct) return { delivered: false, code: conduct.failure, reason: conduct.reason };
    return { delivered: true, responseCode: conduct.code, responseMessage: conduct.message ?? '' };
  }

  override async close(): Promise<void> {
    this.closing.abort();
  }
}
