import { create, createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import type { FileRegistry, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { FileDescriptorProto } from '@bufbuild/protobuf/wkt';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import type { CallOptions, ServiceError, StatusObject } from '@grpc/grpc-js';
import { grpcMethodDefinition } from '../../src/api/grpc/grpc-service-definition';
import type { BidiMethod } from '../../src/api/grpc/answer-stream';
import type { UnaryMethod } from '../../src/api/http/call-rpc';
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '../../src/proto/gen/grpc/health/v1/health_pb';

/** A client on a real socket, of any service that protobuf-es describes, and of the standard ones. */
export class GrpcClient {
  private readonly client: Client;

  constructor(port: number, host = '127.0.0.1') {
    this.client = new Client(`${host}:${port}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  close(): void {
    this.client.close();
  }

  async call<M extends UnaryMethod>(
    method: M,
    message: MessageInitShape<M['input']>,
    options: CallOptions & { onStart?: (call: { cancel(): void }) => void } = {},
  ): Promise<MessageShape<M['output']>> {
    const { path, requestSerialize, responseDeserialize } = grpcMethodDefinition(method);
    const input: M['input'] = method.input;
    return this.unary(path, requestSerialize, responseDeserialize, create(input, message), options);
  }

  /** Sends bytes as they are. */
  callWithBytes(path: string, bytes: Uint8Array): Promise<Buffer> {
    return this.unary(
      path,
      (sent) => Buffer.from(sent),
      (answer) => answer,
      bytes,
      {},
    );
  }

  /** Opens a stream of both directions. `received` grows; `ended` tells how it ended, and never fails. */
  openStream<M extends BidiMethod>(method: M) {
    const { path, requestSerialize, responseDeserialize } = grpcMethodDefinition(method);
    const input: M['input'] = method.input;
    const call = this.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    const received: MessageShape<M['output']>[] = [];
    call.on('data', (message: MessageShape<M['output']>) => received.push(message));
    call.on('error', () => undefined);
    return {
      received,
      ended: new Promise<StatusObject>((resolve) => call.once('status', resolve)),
      send: (message: MessageInitShape<M['input']>) => void call.write(create(input, message)),
      halfClose: () => void call.end(),
      cancel: () => call.cancel(),
    };
  }

  /** The status of a service by name; `''` is the server itself. */
  async checkHealth(service: string): Promise<string> {
    const { status } = await this.call(Health.method.check, { service });
    return ServingStatus[status];
  }

  /** Collects statuses until the stream ends; `ended` then tells why. */
  watchHealth(service: string): { statuses: string[]; ended: Promise<ServiceError> } {
    const { path, requestSerialize, responseDeserialize } = grpcMethodDefinition(Health.method.watch);
    const request = create(Health.method.watch.input, { service });
    const stream = this.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
    const statuses: string[] = [];
    stream.on('data', ({ status }: { status: ServingStatus }) => statuses.push(ServingStatus[status]));
    return { statuses, ended: new Promise((resolve) => stream.once('error', resolve)) };
  }

  /** Asks the server what it serves, as grpcurl does. */
  async listServices(version: 'v1' | 'v1alpha' = 'v1'): Promise<string[]> {
    const answer = await this.reflect(version, reflectionFields.listServices, '*');
    return answer.services.sort();
  }

  /** Everything that the server says about a symbol, as descriptors. @throws Error with the server's text. */
  async describe(symbol: string, version: 'v1' | 'v1alpha' = 'v1'): Promise<FileRegistry & { texts: string[] }> {
    const { files, error } = await this.reflect(version, reflectionFields.fileContainingSymbol, symbol);
    if (error !== undefined) throw new Error(error);
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: dependenciesFirst(files) }));
    const texts = files.flatMap((file) => file.sourceCodeInfo?.location.map(({ leadingComments }) => leadingComments));
    return Object.assign(registry, { texts: texts.map((text) => text?.trim() ?? '') });
  }

  private unary<I, O>(
    path: string,
    serialize: (message: I) => Buffer,
    deserialize: (bytes: Buffer) => O,
    message: I,
    { onStart, ...options }: CallOptions & { onStart?: (call: { cancel(): void }) => void },
  ): Promise<O> {
    return new Promise((resolve, reject) => {
      const call = this.client.makeUnaryRequest(
        path,
        serialize,
        deserialize,
        message,
        new Metadata(),
        options,
        (error, answer) => {
          if (error === null) resolve(answer!);
          else reject(error);
        },
      );
      onStart?.(call);
    });
  }

  private reflect(version: string, field: number, text: string): Promise<ReflectionAnswer> {
    const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
    const stream = this.client.makeBidiStreamRequest(
      path,
      (sent: Uint8Array) => Buffer.from(sent),
      readReflectionAnswer,
    );
    return new Promise((resolve, reject) => {
      stream.once('data', resolve);
      stream.once('error', reject);
      stream.write(new BinaryWriter().tag(field, WireType.LengthDelimited).string(text).finish());
      stream.end();
    });
  }
}

// The reflection protocol's own numbers (grpc/reflection/v1/reflection.proto).
const reflectionFields = { fileContainingSymbol: 4, listServices: 7 };

interface ReflectionAnswer {
  files: FileDescriptorProto[];
  services: string[];
  error?: string;
}

function readReflectionAnswer(bytes: Uint8Array): ReflectionAnswer {
  const answer: ReflectionAnswer = { files: [], services: [] };
  for (const [field, content] of fieldsOf(bytes)) {
    if (field === 4) {
      for (const [, file] of fieldsOf(content)) answer.files.push(fromBinary(FileDescriptorProtoSchema, file));
    } else if (field === 6) {
      for (const [, service] of fieldsOf(content)) {
        for (const [, name] of fieldsOf(service)) answer.services.push(Buffer.from(name).toString());
      }
    } else if (field === 7) {
      answer.error = Buffer.from(fieldsOf(content).find(([number]) => number === 2)?.[1] ?? []).toString();
    }
  }
  return answer;
}

/** The length-delimited fields of a message. */
function fieldsOf(bytes: Uint8Array): [number, Uint8Array][] {
  const reader = new BinaryReader(bytes);
  const fields: [number, Uint8Array][] = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (wireType === WireType.LengthDelimited) fields.push([field, reader.bytes()]);
    else reader.skip(wireType, field);
  }
  return fields;
}

function dependenciesFirst(files: readonly FileDescriptorProto[]): FileDescriptorProto[] {
  const byName = new Map(files.map((file) => [file.name, file]));
  const sorted = new Set<FileDescriptorProto>();
  const visit = (file: FileDescriptorProto | undefined): void => {
    if (file === undefined || sorted.has(file)) return;
    file.dependency.forEach((name) => visit(byName.get(name)));
    sorted.add(file);
  };
  files.forEach(visit);
  return [...sorted];
}
