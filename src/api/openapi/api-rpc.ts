import { applyDecorators, HttpCode } from '@nestjs/common';
import { ApiBody, ApiExtension, ApiOperation, ApiParam, ApiQuery, ApiResponse } from '@nestjs/swagger';
import { comments } from '../../proto/gen/comments';
import type { RpcRoute, UnaryMethod } from '../http/call-rpc';
import { errorBody, errorTable, httpErrors } from '../http/error-table';
import type { ErrorRow } from '../http/error-table';
import { fieldSchema, schemaName, schemaReference } from './message-schemas';

/** Names the schema of the error body; `open-api-document.ts` defines it. */
export const errorSchemaName = 'Error';

/** What every call can answer, and why. */
const commonErrors: readonly [ErrorRow, string, string][] = [
  [
    errorTable.invalid_argument,
    'The request is malformed or breaks a rule; the message says which.',
    'malformed request: field "maxSurge": expected string, got 40',
  ],
  [
    httpErrors.foreignCaller,
    'The request comes from a web page, or is addressed to a host that is not allowed.',
    'origin "https://example.com" is not this API',
  ],
  [
    errorTable.unknown,
    "Something that nobody expected; the message holds an id of Maestro's log.",
    "unexpected error, see Maestro's log for 6f1f54a8-6d3e-4a53-b5c8-1a3c3cf8e0a1",
  ],
  [
    errorTable.unavailable,
    'Something that Maestro needs cannot be reached now; try again.',
    'the database cannot be reached',
  ],
  [
    errorTable.deadline_exceeded,
    'The request took too long and was given up.',
    'the request took too long and was given up',
  ],
];

const ownErrors: Record<RpcRoute['errors'][number], [string, string]> = {
  not_found: ['What the path names does not exist.', 'scheduler arena-eu not found'],
  already_exists: [
    'It exists already, or there is nothing to change.',
    'error creating scheduler arena-eu: name already exists',
  ],
  failed_precondition: [
    'Another change of the same scheduler is under way.',
    'there is already an ongoing version operation',
  ],
  aborted: ['It is too late for that.', 'cannot cancel operation since status "finished" is a final status'],
};

/**
 * Marks a controller's method as an rpc over REST: status 200 (also for POST), and its entry in the OpenAPI document, made
 * from the messages and the comments of the .proto files.
 */
export function ApiRpc<M extends UnaryMethod>(route: RpcRoute<M>): MethodDecorator {
  const { method } = route;
  const pathFields = Object.values(route.path);
  const decorators: MethodDecorator[] = [
    HttpCode(200),
    ApiOperation({
      operationId: method.name,
      summary: comments[`${method.parent.typeName}.${method.name}`] ?? method.name,
      deprecated: method.deprecated,
    }),
    ApiExtension('x-rpc', `${method.parent.typeName}/${method.name}`),
    ApiResponse({
      status: 200,
      description: comments[method.output.typeName] ?? '',
      schema: schemaReference(method.output),
    }),
  ];
  for (const [variable, jsonName] of Object.entries(route.path)) {
    const field = method.input.fields.find((candidate) => candidate.jsonName === jsonName);
    if (field === undefined) throw new Error(`${method.toString()} has no field ${jsonName}`);
    const { description, schema } = fieldSchema(field);
    decorators.push(
      ApiParam({ name: variable, description: description.replace(/;? ?over REST the path decides/, ''), schema }),
    );
  }
  if (route.input === 'query') {
    for (const field of method.input.fields.filter(({ jsonName }) => !pathFields.includes(jsonName))) {
      const { description, required, schema } = fieldSchema(field);
      decorators.push(ApiQuery({ name: field.jsonName, description, required, schema }));
    }
  }
  if (route.input === 'body') {
    decorators.push(
      ApiBody({
        required: false,
        description: `${schemaName(method.input)}. An empty body is an empty message.`,
        schema: schemaReference(method.input),
      }),
      errorResponse(httpErrors.bodyTooLarge, 'The body is too large.', 'Request body is too large'),
    );
  }
  for (const [row, description, example] of commonErrors) {
    const alsoPrecondition = row.httpStatus === 400 && route.errors.includes('failed_precondition');
    decorators.push(
      errorResponse(
        row,
        alsoPrecondition ? `${description} Or: ${ownErrors.failed_precondition[0]}` : description,
        example,
      ),
    );
  }
  for (const kind of route.errors) {
    if (kind === 'failed_precondition') continue;
    decorators.push(errorResponse(errorTable[kind], ...ownErrors[kind]));
  }
  return applyDecorators(...decorators);
}

function errorResponse({ httpStatus, grpcCode }: ErrorRow, description: string, example: string): MethodDecorator {
  return ApiResponse({
    status: httpStatus,
    description,
    content: {
      'application/json': {
        schema: { $ref: `#/components/schemas/${errorSchemaName}` },
        example: errorBody(grpcCode, example),
      },
    },
  });
}
