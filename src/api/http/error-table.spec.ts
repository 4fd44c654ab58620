import { HttpException } from '@nestjs/common';
import { DomainError } from '../../domain/errors';
import type { ErrorKind } from '../../domain/errors';
import { errorAnswerOf } from './answer-error';
import { errorBody, grpcCodeOfStatus } from './error-table';

describe('the error table (management.md 1.3)', () => {
  it.each<[ErrorKind, number, number]>([
    ['canceled', 1, 499],
    ['unknown', 2, 500],
    ['invalid_argument', 3, 400],
    ['deadline_exceeded', 4, 504],
    ['not_found', 5, 404],
    ['already_exists', 6, 409],
    ['permission_denied', 7, 403],
    ['resource_exhausted', 8, 429],
    ['failed_precondition', 9, 400],
    ['aborted', 10, 409],
    ['unimplemented', 12, 501],
    ['internal', 13, 500],
    ['unavailable', 14, 503],
  ])('answers %s with code %p and status %p', (kind, grpcCode, httpStatus) => {
    const answer = errorAnswerOf(new DomainError(kind, 'x.y', 'what went wrong'));
    expect(answer).toMatchObject({ grpcCode, httpStatus, message: 'what went wrong' });
  });

  it('has a body of exactly three fields', () => {
    expect(errorBody(5, 'Not Found')).toEqual({ code: 5, message: 'Not Found', details: [] });
  });

  it.each([
    [400, 3],
    [401, 16],
    [403, 7],
    [404, 5],
    [405, 12],
    [408, 4],
    [409, 10],
    [413, 8],
    [415, 3],
    [429, 8],
    [431, 8],
    [499, 1],
    [500, 13],
    [501, 12],
    [503, 14],
    [504, 4],
  ])('gives the status %p the code %p', (status, code) => {
    expect(grpcCodeOfStatus(status)).toBe(code);
  });
});

describe('errorAnswerOf', () => {
  it('tells nothing of what nobody expected but an id', () => {
    const answer = errorAnswerOf(new Error('password of the database is hunter2'));
    expect(answer).toMatchObject({ grpcCode: 2, httpStatus: 500 });
    expect(answer.message).toBe(`unexpected error, see Maestro's log for ${answer.correlationId}`);
  });

  it.each([['a text'], [undefined], [null], [{ statusCode: 200 }]])('answers %p thrown with 500', (thrown) => {
    expect(errorAnswerOf(thrown)).toMatchObject({ grpcCode: 2, httpStatus: 500 });
  });

  it('keeps the text of a failure that the domain knows, and an id for the log', () => {
    const answer = errorAnswerOf(new DomainError('internal', 'x.y', 'failed to read'));
    expect(answer.message).toBe('failed to read');
    expect(answer.correlationId).toBeDefined();
  });

  it('has nothing for the log about a failure that the domain expects, also when v10 has no code for it', () => {
    const answer = errorAnswerOf(new DomainError('unknown', 'x.y', 'no room is ready'));
    expect(answer).toEqual({ grpcCode: 2, httpStatus: 500, message: 'no room is ready' });
  });

  it("keeps the status of the framework's own errors", () => {
    expect(errorAnswerOf(new HttpException('too large', 413))).toEqual({
      grpcCode: 8,
      httpStatus: 413,
      message: 'too large',
    });
  });
});
