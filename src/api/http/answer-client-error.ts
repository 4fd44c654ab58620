import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { errorBody, httpErrors } from './error-table';
import type { ErrorRow } from './error-table';

/** Answers what is not HTTP, too slow or too long in its headers: there is no request yet, only a socket. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [row, message] = explain(error.code);
  const body = JSON.stringify(errorBody(row.grpcCode, message));
  socket.end(
    [
      `HTTP/1.1 ${row.httpStatus} ${STATUS_CODES[row.httpStatus] ?? ''}`,
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}

/** Node's codes: https://nodejs.org/api/http.html#event-clienterror */
function explain(code: string | undefined): [ErrorRow, string] {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return [httpErrors.requestTooSlow, 'the request was not received in time'];
  if (code === 'HPE_HEADER_OVERFLOW') return [httpErrors.headersTooLarge, 'the headers are too large'];
  return [httpErrors.malformedHttp, 'not an HTTP request'];
}
