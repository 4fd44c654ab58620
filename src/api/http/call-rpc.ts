import type {
  DescField,
  DescMessage,
  DescMethod,
  JsonObject,
  JsonValue,
  Message,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import type { FastifyRequest } from 'fastify';
import { callSignal } from './call-signals';
import { decodeQuery, queryWord } from './decode-query';
import { firstJsonValue } from './first-json-value';
import { decodeMessage, encodeMessage, malformedField } from './protojson';

/** An rpc with one message in and one out, as protobuf-es describes it. */
export type UnaryMethod<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> = DescMethod & {
  methodKind: 'unary';
  input: I;
  output: O;
};

/** The errors that a route can have of its own. */
export type RouteErrorKind =
  | 'invalid_argument'
  | 'not_found'
  | 'already_exists'
  | 'failed_precondition'
  | 'resource_exhausted'
  | 'aborted'
  | 'unknown';

/** An error for the documentation: when it comes, and a message as it may be. */
export interface RouteError {
  when: string;
  example: string;
}

/**
 * A body that is one of the message fields of the request: a parameter of the query says which, by the field's JSON name. The
 * first is meant when the parameter is missing.
 */
export interface BodyChoice {
  parameter: string;
  fields: readonly [string, ...string[]];
}

/** What a handler may want to know about its call besides the message. */
export interface RpcContext {
  /** Aborted when nobody waits for the answer any more: the caller went away, or its deadline or our limit has passed. */
  readonly signal: AbortSignal;
}

/** How an rpc is reached over REST. The verb and the path are said by Nest's own decorators beside it. */
export interface RpcRoute<M extends UnaryMethod = UnaryMethod> {
  method: M;
  /** From the path's variables to the fields (JSON names) that they set: of the request, or of the body that was chosen. */
  path: Readonly<Record<string, string>>;
  /** Where the other fields come from. With `none`, a body is tolerated and ignored, and so is a query. */
  input: 'body' | 'query' | 'none' | BodyChoice;
  /** Carries over into the body's message what its JSON says and protobuf's mapping loses. */
  keepFromJson?: (body: Message, json: JsonValue) => void;
  /** How long the handler may wait for what its caller wants, besides what its work takes. Milliseconds; none when not given. */
  longestWaitMs?: number;
  /** For the documentation; what every call can answer is added there. */
  errors: Readonly<Partial<Record<RouteErrorKind, RouteError>>>;
}

/** Types a route by its method, so that `callRpc` knows its messages. */
export function rpcRoute<M extends UnaryMethod>(route: RpcRoute<M>): RpcRoute<M> {
  return route;
}

/** A field that a body can be chosen to be. */
export function bodyField(method: UnaryMethod, jsonName: string): DescField & { fieldKind: 'message' } {
  const field = method.input.fields.find((candidate) => candidate.jsonName === jsonName);
  if (field?.fieldKind !== 'message') throw new Error(`${method.toString()} has no message field ${jsonName}`);
  return field;
}

/**
 * Answers a REST request by the handler that gRPC calls too: decodes the request's message, calls, encodes the answer.
 * A variable of the path wins over the same field in the body or the query.
 */
export async function callRpc<M extends UnaryMethod>(
  route: RpcRoute<M>,
  request: FastifyRequest,
  handler: (message: MessageShape<M['input']>, context: RpcContext) => Promise<MessageInitShape<M['output']>>,
): Promise<JsonObject> {
  const output: M['output'] = route.method.output;
  const answer = await handler(decodeRequest(route, request), new RequestContext(request));
  return encodeMessage(output, create(output, answer));
}

/** The signal is made when it is asked for: most handlers never do. */
class RequestContext implements RpcContext {
  constructor(private readonly request: FastifyRequest) {}

  get signal(): AbortSignal {
    return callSignal(this.request.raw);
  }
}

/** What the route that took the request says, through `ApiRpc`; 0 for others. */
export function longestWaitMs(request: FastifyRequest): number {
  const config = request.routeOptions.config as Partial<LongestWait> | undefined;
  return config?.longestWaitMs ?? 0;
}

/** A route's config, as Fastify keeps it. */
export type LongestWait = Required<Pick<RpcRoute, 'longestWaitMs'>>;

function decodeRequest<M extends UnaryMethod>(route: RpcRoute<M>, request: FastifyRequest): MessageShape<M['input']> {
  const input: M['input'] = route.method.input;
  if (typeof route.input === 'object') return decodeChosenBody(route, route.input, request);
  const message =
    route.input === 'body' ? decodeBody(input, route, request) : decodeMessage(input, queryJson(route, request));
  setPathFields(message, route, request);
  return message;
}

/** The request around the body that the query chose. Errors name the body's own fields, which is what the caller wrote. */
function decodeChosenBody<M extends UnaryMethod>(
  route: RpcRoute<M>,
  { parameter, fields }: BodyChoice,
  request: FastifyRequest,
): MessageShape<M['input']> {
  const input: M['input'] = route.method.input;
  const field = bodyField(route.method, queryWord(request.url, parameter, fields));
  const body = decodeBody(field.message, route, request);
  setPathFields(body, route, request);
  const message = create(input);
  reflect(input, message).set(field, reflect(field.message, body));
  return message;
}

function decodeBody<Desc extends DescMessage>(
  schema: Desc,
  route: RpcRoute,
  request: FastifyRequest,
): MessageShape<Desc> {
  const json = firstJsonValue(request.body as Uint8Array | undefined, schema);
  const message = decodeMessage(schema, json);
  if (json !== undefined) route.keepFromJson?.(message, json);
  return message;
}

function queryJson(route: RpcRoute, request: FastifyRequest): JsonValue | undefined {
  return route.input === 'query' ? decodeQuery(route.method.input, request.url, Object.values(route.path)) : undefined;
}

/** The fields of a path are texts. The router has decoded them, once. */
function setPathFields(message: Record<string, unknown>, route: RpcRoute, request: FastifyRequest): void {
  const variables = request.params as Record<string, string>;
  for (const variable in route.path) {
    const field = route.path[variable] ?? '';
    const text = variables[variable] ?? '';
    if (text.includes('\0')) throw malformedField(field, 'text must not contain a NUL character');
    message[field] = text;
  }
}
