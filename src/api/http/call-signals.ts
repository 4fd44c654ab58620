import type { IncomingMessage } from 'node:http';

const controllers = new WeakMap<IncomingMessage, AbortController>();

/** Aborted when nobody waits for the answer to this request any more: see `endCall`. Made for the calls that ask for it. */
export function callSignal(request: IncomingMessage): AbortSignal {
  let controller = controllers.get(request);
  if (controller === undefined) {
    controller = new AbortController();
    controllers.set(request, controller);
    // It went away before anybody asked.
    if (request.socket.destroyed) controller.abort();
  }
  return controller.signal;
}

/** The request was answered, by whoever it was, or its caller has hung up. */
export function endCall(request: IncomingMessage): void {
  controllers.get(request)?.abort();
}
