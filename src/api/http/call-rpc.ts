import type {
  DescMessage,
  DescMethod,
  JsonObject,
  JsonValue,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import type { FastifyRequest } from 'fastify';
import { decodeQuery } from './decode-query';
import { firstJsonValue } from './first-json-value';
import { decodeMessage, encodeMessage, malformedField } from './protojson';

/** An rpc with one message in and one out, as protobuf-es describes it. */
export type UnaryMethod<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> = DescMethod & {
  methodKind: 'unary';
  input: I;
  output: O;
};

/** How an rpc is reached over REST. The verb and the path are said by Nest's own decorators beside it. */
export interface RpcRoute<M extends UnaryMethod = UnaryMethod> {
  method: M;
  /** From the path's variables to the fields (JSON names) that they set. */
  path: Readonly<Record<string, string>>;
  /** Where the other fields come from. With `none`, a body is tolerated and ignored, and so is a query. */
  input: 'body' | 'query' | 'none';
  /** Errors of its own, for the documentation; those that every call can have are added there. */
  errors: readonly ('not_found' | 'already_exists' | 'failed_precondition' | 'aborted')[];
}

/** Types a route by its method, so that `callRpc` knows its messages. */
export function rpcRoute<M extends UnaryMethod>(route: RpcRoute<M>): RpcRoute<M> {
  return route;
}

/**
 * Answers a REST request by the handler that gRPC calls too: decodes the request's message, calls, encodes the answer.
 * A variable of the path wins over the same field in the body or the query.
 */
export async function callRpc<M extends UnaryMethod>(
  route: RpcRoute<M>,
  request: FastifyRequest,
  handler: (message: MessageShape<M['input']>) => Promise<MessageInitShape<M['output']>>,
): Promise<JsonObject> {
  const input: M['input'] = route.method.input;
  const output: M['output'] = route.method.output;
  const message = decodeMessage(input, requestJson(route, request));
  setPathFields(message, route, request);
  const answer = await handler(message);
  return encodeMessage(output, create(output, answer));
}

function requestJson(route: RpcRoute, request: FastifyRequest): JsonValue | undefined {
  switch (route.input) {
    case 'none':
      return undefined;
    case 'query':
      return decodeQuery(route.method.input, request.url, Object.values(route.path));
    case 'body':
      return firstJsonValue(request.body as Uint8Array | undefined, route.method.input);
  }
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
