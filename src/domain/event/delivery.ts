/** How a delivery can end, in the words that Go prints for gRPC's codes: v10's metrics are labelled so. By gRPC's numbers. */
export const deliveryCodes = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
] as const;
export type DeliveryCode = (typeof deliveryCodes)[number];

export type DeliveryOutcome =
  /** The backend took it and answered, whatever it answered. */
  | { delivered: true; responseCode: number; responseMessage: string }
  /** It may or may not have got it. `reason` is one line of text. */
  | { delivered: false; code: DeliveryCode; reason: string };

/** What a backend answers is counted in gRPC's words; it never makes a delivery a failure (`rooms.md` 8.6). */
export function codeOfDelivery(outcome: DeliveryOutcome): DeliveryCode {
  if (!outcome.delivered) return outcome.code;
  switch (outcome.responseCode) {
    case 200:
      return 'OK';
    case 404:
      return 'NotFound';
    case 406:
      return 'FailedPrecondition';
    case 500:
      return 'Internal';
    default:
      return 'Unknown';
  }
}
