import type { DeliveryCode, DeliveryOutcome } from './delivery';

/** What who sent an event is told; `message` is empty after a success. */
export interface ForwardingAnswer {
  success: boolean;
  message: string;
}

/** An event succeeds when every forwarder took it; else every one that did not is named, in v10's words. */
export function composeForwardingAnswer(
  deliveries: readonly { forwarder: { name: string }; outcome: DeliveryOutcome }[],
): ForwardingAnswer {
  const failures = deliveries.flatMap(({ forwarder, outcome }) =>
    outcome.delivered ? [] : [`${failureAt(forwarder.name, outcome.code)}${outcome.reason && `: ${outcome.reason}`}`],
  );
  return { success: failures.length === 0, message: failures.join('; ') };
}

function failureAt(forwarder: string, code: DeliveryCode): string {
  return `failed to forward event room at ${JSON.stringify(forwarder)} with code ${code}`;
}
