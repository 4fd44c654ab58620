import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, DescMethod, DescService, MessageShape } from '@bufbuild/protobuf';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';

/**
 * A method as grpc-js wants it, from its descriptor. Messages are what handlers take and give: protobuf-es messages, with
 * unknown fields neither kept nor sent on.
 */
export function grpcMethodDefinition<M extends DescMethod>(
  method: M,
): MethodDefinition<MessageShape<M['input']>, MessageShape<M['output']>> {
  const input: M['input'] = method.input;
  const output: M['output'] = method.output;
  return {
    path: methodPath(method),
    requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: (message) => encodeBinary(input, message),
    requestDeserialize: (bytes) => decodeBinary(input, bytes),
    responseSerialize: (message) => encodeBinary(output, message),
    responseDeserialize: (bytes) => decodeBinary(output, bytes),
    originalName: method.localName,
  };
}

/** A service as grpc-js wants it, its methods by their names in code (`listSchedulers`). */
export function grpcServiceDefinition(service: DescService): ServiceDefinition {
  return Object.fromEntries(service.methods.map((method) => [method.localName, grpcMethodDefinition(method)]));
}

/** `/api.v1.SchedulersService/ListSchedulers`: where HTTP/2 finds a method. */
export function methodPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

export function decodeBinary<Desc extends DescMessage>(schema: Desc, bytes: Uint8Array): MessageShape<Desc> {
  return fromBinary(schema, bytes, { readUnknownFields: false });
}

export function encodeBinary<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): Buffer {
  const bytes = toBinary(schema, message, { writeUnknownFields: false });
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
