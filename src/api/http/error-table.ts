import type { DomainError, ErrorKind } from '../../domain/errors';

/** gRPC's status codes (google.golang.org/grpc/codes); the numbers are part of the error body. */
export const grpcCodes = {
  canceled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

export interface ErrorRow {
  grpcCode: number;
  httpStatus: number;
}

/** The one table from what went wrong to what a client sees. Source: `management.md` 1.3 (grpc-gateway's mapping). */
export const errorTable: Readonly<Record<ErrorKind, ErrorRow>> = {
  unknown: { grpcCode: grpcCodes.unknown, httpStatus: 500 },
  invalid_argument: { grpcCode: grpcCodes.invalidArgument, httpStatus: 400 },
  deadline_exceeded: { grpcCode: grpcCodes.deadlineExceeded, httpStatus: 504 },
  canceled: { grpcCode: grpcCodes.canceled, httpStatus: 499 },
  not_found: { grpcCode: grpcCodes.notFound, httpStatus: 404 },
  already_exists: { grpcCode: grpcCodes.alreadyExists, httpStatus: 409 },
  permission_denied: { grpcCode: grpcCodes.permissionDenied, httpStatus: 403 },
  resource_exhausted: { grpcCode: grpcCodes.resourceExhausted, httpStatus: 429 },
  // 400, not 412 or 409: what v10's clients see when a version operation is already running.
  failed_precondition: { grpcCode: grpcCodes.failedPrecondition, httpStatus: 400 },
  aborted: { grpcCode: grpcCodes.aborted, httpStatus: 409 },
  unimplemented: { grpcCode: grpcCodes.unimplemented, httpStatus: 501 },
  internal: { grpcCode: grpcCodes.internal, httpStatus: 500 },
  unavailable: { grpcCode: grpcCodes.unavailable, httpStatus: 503 },
};

/** What only HTTP can say. */
export const httpErrors = {
  unknownPath: { grpcCode: grpcCodes.notFound, httpStatus: 404 },
  /** 501, not 405: what v10's gateway answers. */
  wrongVerb: { grpcCode: grpcCodes.unimplemented, httpStatus: 501 },
  malformedHttp: { grpcCode: grpcCodes.invalidArgument, httpStatus: 400 },
  unmetExpectation: { grpcCode: grpcCodes.invalidArgument, httpStatus: 417 },
  bodyTooLarge: { grpcCode: grpcCodes.resourceExhausted, httpStatus: 413 },
  headersTooLarge: { grpcCode: grpcCodes.resourceExhausted, httpStatus: 431 },
  requestTooSlow: { grpcCode: grpcCodes.deadlineExceeded, httpStatus: 408 },
  foreignCaller: { grpcCode: grpcCodes.permissionDenied, httpStatus: 403 },
} as const satisfies Record<string, ErrorRow>;

/** The body of every error, over REST. `details` is always empty, as in v10: strict clients decode it. */
export interface ErrorBody {
  code: number;
  message: string;
  details: [];
}

export function errorBody(grpcCode: number, message: string): ErrorBody {
  return { code: grpcCode, message, details: [] };
}

export function errorRowOf(error: DomainError): ErrorRow {
  return errorTable[error.kind];
}

/**
 * For errors that the HTTP library itself raises, which know an HTTP status only. Where several codes share a status, the
 * one that fits what such a library means by it.
 */
export function grpcCodeOfStatus(httpStatus: number): number {
  switch (httpStatus) {
    case 401:
      return grpcCodes.unauthenticated;
    case 403:
      return grpcCodes.permissionDenied;
    case 404:
      return grpcCodes.notFound;
    case 408:
    case 504:
      return grpcCodes.deadlineExceeded;
    case 409:
      return grpcCodes.aborted;
    case 413:
    case 429:
    case 431:
      return grpcCodes.resourceExhausted;
    case 499:
      return grpcCodes.canceled;
    case 405:
    case 501:
      return grpcCodes.unimplemented;
    case 503:
      return grpcCodes.unavailable;
    default:
      return httpStatus < 500 ? grpcCodes.invalidArgument : grpcCodes.internal;
  }
}
