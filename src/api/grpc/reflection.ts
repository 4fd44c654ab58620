import { create, toBinary } from '@bufbuild/protobuf';
import type { DescFile, DescService } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, SourceCodeInfoSchema, SourceCodeInfo_LocationSchema } from '@bufbuild/protobuf/wkt';
import type { SourceCodeInfo } from '@bufbuild/protobuf/wkt';
import { ReflectionService } from '@grpc/reflection';
import { comments } from '../../proto/gen/comments';

/** Server reflection, v1 and v1alpha: what lets grpcurl and grpcui work without .proto files. Comments are shown too. */
export function reflectionService(services: readonly DescService[]): ReflectionService {
  const files = new Set<DescFile>();
  const visit = (file: DescFile): void => {
    if (files.has(file)) return;
    files.add(file);
    file.dependencies.forEach(visit);
  };
  services.forEach(({ file }) => visit(file));
  const encoded = [...files].map((file) => toBinary(FileDescriptorProtoSchema, describeFile(file)));
  return new ReflectionService({
    // The library reads nothing of a package definition but its files.
    all: {
      format: 'Protocol Buffer 3 DescriptorProto',
      type: {},
      fileDescriptorProtos: encoded.map((bytes) => Buffer.from(bytes)),
    },
  } as unknown as ConstructorParameters<typeof ReflectionService>[0]);
}

// Field numbers of descriptor.proto, which a location's path is made of.
const messageType = 4;
const serviceType = 6;
const memberOfType = 2;

/** The file with its comments, which do not survive into generated code. */
function describeFile(file: DescFile) {
  return create(FileDescriptorProtoSchema, { ...file.proto, sourceCodeInfo: commentsOf(file) });
}

function commentsOf(file: DescFile): SourceCodeInfo {
  const found: [name: string, path: number[]][] = [
    ...file.messages.flatMap((message, index): [string, number[]][] => [
      [message.typeName, [messageType, index]],
      ...message.fields.map((field, member): [string, number[]] => [
        `${message.typeName}.${field.name}`,
        [messageType, index, memberOfType, member],
      ]),
    ]),
    ...file.services.flatMap((service, index): [string, number[]][] => [
      [service.typeName, [serviceType, index]],
      ...service.methods.map((method, member): [string, number[]] => [
        `${service.typeName}.${method.name}`,
        [serviceType, index, memberOfType, member],
      ]),
    ]),
  ];
  return create(SourceCodeInfoSchema, {
    location: found.flatMap(([name, path]) => {
      const comment = comments[name];
      if (comment === undefined) return [];
      // The lines of the sources are not known here; a location must have some.
      return create(SourceCodeInfo_LocationSchema, { path, span: [0, 0, 0], leadingComments: indent(comment) });
    }),
  });
}

/** As protoc keeps them: without the slashes, with the blank after them. */
function indent(comment: string): string {
  return comment
    .split('\n')
    .map((line) => ` ${line}\n`)
    .join('');
}
