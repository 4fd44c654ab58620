import type { DeliveryOutcome } from '../domain/event/delivery';
import type { EventMessage } from '../domain/event/event';

/** Where a backend is, and how long it may take. */
export interface ForwarderEndpoint {
  /** `host:port`. A name that stands for several hosts is called in turns. */
  address: string;
  /** From the call to its answer, connecting included. Milliseconds. */
  timeoutMs: number;
}

/**
 * Tells a game's backend of one event.
 *
 * Promises: `deliver` never rejects, and answers within the timeout; what becomes of one backend, no other one notices; an
 * event is never sent a second time once the backend may have seen it; a backend that was away is reached again within ten
 * seconds of its return, if it is called.
 * Not in here: who is told what, order, trying again later, what is counted per scheduler.
 */
export abstract class EventForwarder {
  abstract deliver(message: EventMessage, endpoint: ForwarderEndpoint): Promise<DeliveryOutcome>;

  /** Ends everything: what is still on its way is `Canceled`, and so is everything after. */
  abstract close(): Promise<void>;
}
