import type { ApiResponseOptions } from '@nestjs/swagger';
import { errorBody, httpErrors } from '../http/error-table';
import type { ErrorRow } from '../http/error-table';

/** Names the schema of the error body; `open-api-document.ts` defines it. */
export const errorSchemaName = 'Error';

export interface DocumentedError {
  /** Tells errors of one status apart. */
  name: string;
  row: ErrorRow;
  /** A sentence: what it means that it comes. */
  when: string;
  /** A message as it may be. */
  example: string;
}

/** Comes with every verb that a body is read for, also where the body is then ignored. */
export const bodyTooLarge: DocumentedError = {
  name: 'too_large',
  row: httpErrors.bodyTooLarge,
  when: 'The body is too large.',
  example: 'Request body is too large',
};

/** The responses for errors: one for each status, with all that it can mean and an example of each. */
export function errorResponses(errors: readonly DocumentedError[]): (ApiResponseOptions & { status: number })[] {
  const statuses = [...new Set(errors.map(({ row }) => row.httpStatus))];
  return statuses.map((status) => {
    const same = errors.filter(({ row }) => row.httpStatus === status);
    const bodies = same.map(({ row, example }) => errorBody(row.grpcCode, example));
    return {
      status,
      description: same.map(({ when }) => when).join(' Or: '),
      content: {
        'application/json': {
          schema: { $ref: `#/components/schemas/${errorSchemaName}` },
          ...(same.length === 1
            ? { example: bodies[0] }
            : {
                examples: Object.fromEntries(
                  same.map(({ name, when }, index) => [name, { summary: when, value: bodies[index] }]),
                ),
              }),
        },
      },
    };
  });
}
