import type { DescMethod, DescService, MessageShape } from '@bufbuild/protobuf';
import type { ServerDuplexStream, ServerWritableStream } from '@grpc/grpc-js';
import type { UnaryMethod } from '../http/call-rpc';
import type { UnaryRpc } from './answer-unary-call';

/** What answers a method: a unary one by message in, message out; one that streams its answers gets grpc-js's call. */
export type RpcHandler<M extends DescMethod> = M extends UnaryMethod
  ? UnaryRpc<M>
  : M extends { methodKind: 'server_streaming' }
    ? (call: ServerWritableStream<MessageShape<M['input']>, MessageShape<M['output']>>) => void
    : M extends { methodKind: 'bidi_streaming' }
      ? (call: ServerDuplexStream<MessageShape<M['input']>, MessageShape<M['output']>>) => void
      : never;

/** Handlers by the names of their rpcs in code. One that is missing answers UNIMPLEMENTED. */
export type RpcHandlers<S extends DescService> = {
  [K in keyof S['method']]?: S['method'][K] extends DescMethod ? RpcHandler<S['method'][K]> : never;
};

export type GrpcService = readonly [service: DescService, handlers: object];

/** Pairs a service with what answers it, and checks their types against each other. */
export function grpcService<S extends DescService>(service: S, handlers: RpcHandlers<S>): GrpcService {
  return [service, handlers];
}
