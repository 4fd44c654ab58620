import type { DescMethod, DescService, MessageShape } from '@bufbuild/protobuf';
import type { ServerWritableStream } from '@grpc/grpc-js';
import type { UnaryMethod } from '../http/call-rpc';
import type { BidiMethod, BidiRpc } from './answer-stream';
import type { UnaryRpc } from './answer-unary-call';

/**
 * What answers a method: a unary one by message in, message out; one that streams both ways by `StreamReceiver`; one that
 * streams its answers only gets grpc-js's call.
 */
export type RpcHandler<M extends DescMethod> = M extends UnaryMethod
  ? UnaryRpc<M>
  : M extends { methodKind: 'server_streaming' }
    ? (call: ServerWritableStream<MessageShape<M['input']>, MessageShape<M['output']>>) => void
    : M extends BidiMethod
      ? BidiRpc<M>
      : never;

/** Handlers by the names of their rpcs in code. One that is missing answers UNIMPLEMENTED. */
export type RpcHandlers<S extends DescService> = {
  [K in keyof S['method']]?: S['method'][K] extends DescMethod ? RpcHandler<S['method'][K]> : never;
};

/** Milliseconds that a handler may wait for what its caller wants, besides what its work takes; by the names of rpcs in code. */
export type LongestWaits<S extends DescService> = Readonly<Partial<Record<keyof S['method'], number>>>;

export type GrpcService = readonly [
  service: DescService,
  handlers: object,
  longestWaitsMs?: LongestWaits<DescService> | undefined,
];

/** Pairs a service with what answers it, and checks their types against each other. */
export function grpcService<S extends DescService>(
  service: S,
  handlers: RpcHandlers<S>,
  longestWaitsMs?: LongestWaits<S>,
): GrpcService {
  return [service, handlers, longestWaitsMs];
}
