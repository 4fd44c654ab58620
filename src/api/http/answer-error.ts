import { randomUUID } from 'node:crypto';
import { HttpException } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError, messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import { errorBody, errorRowOf, errorTable, grpcCodeOfStatus, httpErrors } from './error-table';
import type { ErrorRow } from './error-table';

/** What a client is told, and what is logged about it. */
export interface ErrorAnswer extends ErrorRow {
  message: string;
  /** Set when someone must look: the same id is in the message and in the log line. */
  correlationId?: string;
}

/**
 * Finds the answer to anything that was thrown. A `DomainError` speaks for itself; what nobody expected is told as an id
 * only, because its text may hold what a client must not see.
 */
export function errorAnswerOf(error: unknown): ErrorAnswer {
  if (error instanceof DomainError) {
    const row = errorRowOf(error);
    // Not `unknown`: so is told what v10 has no better code for, such as that no room is ready, and nobody need act.
    const surprise = error.kind === 'internal';
    return { ...row, message: error.message, ...(surprise ? { correlationId: randomUUID() } : {}) };
  }
  const status = httpStatusOf(error);
  if (status !== undefined && status < 500) {
    return { grpcCode: grpcCodeOfStatus(status), httpStatus: status, message: messageOf(error) };
  }
  const correlationId = randomUUID();
  return { ...errorTable.unknown, message: `unexpected error, see Maestro's log for ${correlationId}`, correlationId };
}

/** Answers an error, and logs what nobody expected, with its stack. */
export function answerError(logger: Logger, error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const answer = errorAnswerOf(error);
  logSurprise(logger, answer, error, { method: request.method, path: request.routeOptions?.url ?? '' });
  if (reply.sent) return;
  void reply.code(answer.httpStatus).type('application/json').send(errorBody(answer.grpcCode, answer.message));
}

/** Logs an error that someone must look at, with its stack and the id that the caller was told; others are the caller's. */
export function logSurprise(
  logger: Logger,
  { correlationId }: ErrorAnswer,
  error: unknown,
  request: { method: string; path: string },
): void {
  if (correlationId === undefined) return;
  logger.error(
    {
      correlation_id: correlationId,
      ...request,
      error: error instanceof Error ? { message: error.message, stack: error.stack, cause: causeOf(error) } : error,
    },
    'request failed',
  );
}

function causeOf(error: Error): string | undefined {
  return error.cause === undefined ? undefined : messageOf(error.cause);
}

function hasCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}

/** Nest's and Fastify's own errors carry the status that they mean. */
function httpStatusOf(error: unknown): number | undefined {
  if (hasCode(error, 'FST_ERR_CTP_BODY_TOO_LARGE')) return httpErrors.bodyTooLarge.httpStatus;
  if (error instanceof HttpException) return error.getStatus();
  if (error instanceof Error && error.name === 'FastifyError' && 'statusCode' in error) {
    return typeof error.statusCode === 'number' ? error.statusCode : undefined;
  }
  return undefined;
}
