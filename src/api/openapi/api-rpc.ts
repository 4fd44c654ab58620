import { applyDecorators, HttpCode } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiBody, ApiExtension, ApiOperation, ApiParam, ApiQuery, ApiResponse } from '@nestjs/swagger';
import { comments } from '../../proto/gen/comments';
import { bodyField } from '../http/call-rpc';
import type { BodyChoice, LongestWait, RouteErrorKind, RpcRoute, UnaryMethod } from '../http/call-rpc';
import { errorTable, httpErrors } from '../http/error-table';
import { errorResponses } from './error-responses';
import type { DocumentedError } from './error-responses';
import { commentOf, fieldSchema, schemaName, schemaReference } from './message-schemas';

/** What every call can answer, and why. */
const commonErrors: readonly DocumentedError[] = [
  {
    name: 'malformed',
    row: errorTable.invalid_argument,
    when: 'The request is malformed or breaks a rule; the message says which.',
    example: 'malformed request: field "maxSurge": expected string, got 40',
  },
  {
    name: 'foreign',
    row: httpErrors.foreignCaller,
    when: 'The request comes from a web page, or is addressed to a host that is not allowed.',
    example: 'origin "https://example.com" is not this API',
  },
  {
    name: 'unexpected',
    row: errorTable.unknown,
    when: "Something that nobody expected; the message holds an id of Maestro's log.",
    example: "unexpected error, see Maestro's log for 6f1f54a8-6d3e-4a53-b5c8-1a3c3cf8e0a1",
  },
  {
    name: 'unavailable',
    row: errorTable.unavailable,
    when: 'Something that Maestro needs cannot be reached now; try again.',
    example: 'the database cannot be reached',
  },
  {
    name: 'too_slow',
    row: errorTable.deadline_exceeded,
    when: 'The request took too long and was given up.',
    example: 'the request took too long and was given up',
  },
];

/**
 * Marks a controller's method as an rpc over REST: status 200 (also for POST), and its entry in the OpenAPI document, made
 * from the messages and the comments of the .proto files.
 */
export function ApiRpc<M extends UnaryMethod>(route: RpcRoute<M>): MethodDecorator {
  const { method, input } = route;
  return applyDecorators(
    HttpCode(200),
    ...(route.longestWaitMs === undefined
      ? []
      : [RouteConfig({ longestWaitMs: route.longestWaitMs } satisfies LongestWait)]),
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
    ...pathParameters(route),
    ...(input === 'query' ? queryParameters(route) : []),
    ...(input === 'body' ? [messageBody(method)] : []),
    ...(typeof input === 'object' ? chosenBody(method, input) : []),
    ...errorResponses([...commonErrors, ...ownErrors(route)]).map((response) => ApiResponse(response)),
  );
}

/** A variable of the path sets a field of the request, or of each body that can be chosen. */
function pathParameters({ method, path, input }: RpcRoute): MethodDecorator[] {
  const owner = typeof input === 'object' ? bodyField(method, input.fields[0]).message : method.input;
  return Object.entries(path).map(([variable, jsonName]) => {
    const field = owner.fields.find((candidate) => candidate.jsonName === jsonName);
    if (field === undefined) throw new Error(`${method.toString()} has no field ${jsonName}`);
    const { description, schema } = fieldSchema(field);
    return ApiParam({ name: variable, description: description.replace(/;? ?over REST the path decides/, ''), schema });
  });
}

function queryParameters({ method, path }: RpcRoute): MethodDecorator[] {
  const pathFields = Object.values(path);
  return method.input.fields
    .filter(({ jsonName }) => !pathFields.includes(jsonName))
    .map((field) => ApiQuery({ name: field.jsonName, ...fieldSchema(field) }));
}

function messageBody({ input }: UnaryMethod): MethodDecorator {
  return ApiBody({
    required: false,
    description: `${schemaName(input)}. An empty body is an empty message.`,
    schema: schemaReference(input),
  });
}

/** `anyOf`, not `oneOf`: unknown fields are ignored, so one body may well be both. */
function chosenBody(method: UnaryMethod, { parameter, fields }: BodyChoice): MethodDecorator[] {
  const choices = fields.map((name) => bodyField(method, name));
  const meanings = choices.map((field) => `\`${field.jsonName}\`: ${commentOf(field).description}`);
  return [
    ApiQuery({
      name: parameter,
      required: false,
      description: `What the body is. ${meanings.join(' ')}`,
      schema: { type: 'string', enum: [...fields], default: fields[0], example: fields[0] },
    }),
    ApiBody({
      required: false,
      description: `${choices
        .map(({ message, jsonName }) => `${schemaName(message)} with \`${parameter}=${jsonName}\``)
        .join(', ')}. An empty body is an empty message.`,
      schema: { anyOf: choices.map(({ message }) => schemaReference(message)) },
    }),
  ];
}

function ownErrors({ errors }: RpcRoute): DocumentedError[] {
  return Object.entries(errors).map(([kind, error]) => ({
    name: kind,
    row: errorTable[kind as RouteErrorKind],
    ...error,
  }));
}
