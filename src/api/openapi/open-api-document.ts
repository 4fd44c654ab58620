import { createRegistry } from '@bufbuild/protobuf';
import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import type { OpenAPIObject } from '@nestjs/swagger';
import { file_api_v1_operations } from '../../proto/gen/api/v1/operations_pb';
import { file_api_v1_rooms } from '../../proto/gen/api/v1/rooms_pb';
import { file_api_v1_schedulers } from '../../proto/gen/api/v1/schedulers_pb';
import { file_maestro_v1_allocations } from '../../proto/gen/maestro/v1/allocations_pb';
import { file_maestro_v1_backtests } from '../../proto/gen/maestro/v1/backtests_pb';
import { file_maestro_v1_operation_details } from '../../proto/gen/maestro/v1/operation_details_pb';
import { file_maestro_v1_scheduler_automation } from '../../proto/gen/maestro/v1/scheduler_automation_pb';
import { file_maestro_v1_scheduler_plans } from '../../proto/gen/maestro/v1/scheduler_plans_pb';
import { file_maestro_v1_scheduler_rooms } from '../../proto/gen/maestro/v1/scheduler_rooms_pb';
import { bodyTooLarge, errorResponses, errorSchemaName } from './error-responses';
import { messageSchemas } from './message-schemas';
import type { SchemaObject } from './schema-object';

export interface OpenApiTitle {
  title: string;
  description: string;
}

const registry = createRegistry(
  file_api_v1_schedulers,
  file_api_v1_operations,
  file_api_v1_rooms,
  file_maestro_v1_scheduler_plans,
  file_maestro_v1_scheduler_rooms,
  file_maestro_v1_scheduler_automation,
  file_maestro_v1_operation_details,
  file_maestro_v1_backtests,
  file_maestro_v1_allocations,
);

const errorSchema: SchemaObject = {
  type: 'object',
  description: 'Every error, whatever the status.',
  properties: {
    code: { type: 'integer', format: 'int32', description: "gRPC's status code.", example: 3 },
    message: {
      type: 'string',
      description: 'What went wrong, and the way out where there is one.',
      example: 'Not Found',
    },
    details: { type: 'array', items: {}, maxItems: 0, description: 'Always empty.', example: [] },
  },
  required: ['code', 'message', 'details'],
};

/**
 * The OpenAPI 3 document of an application: its routes are read from the controllers, its schemas from the messages of the
 * rpcs that these routes name. Deterministic.
 */
export function buildOpenApiDocument(app: INestApplication, { title, description }: OpenApiTitle): OpenAPIObject {
  const config = new DocumentBuilder().setTitle(title).setDescription(description).setVersion('v1').build();
  const document = SwaggerModule.createDocument(app, config);
  const operations = Object.values(document.paths).flatMap((path) => Object.entries(path as Record<string, Operation>));
  const methods = operations.flatMap(([verb, operation]) => {
    if (verb !== 'get') addResponses(operation, errorResponses([bodyTooLarge]));
    const [service = '', name] = operation['x-rpc']?.split('/') ?? [];
    return registry.getService(service)?.methods.filter((method) => method.name === name) ?? [];
  });
  const schemas = messageSchemas({
    requests: methods.map((method) => method.input),
    answers: methods.map((method) => method.output),
  });
  document.components = { ...document.components, schemas: { [errorSchemaName]: errorSchema, ...schemas } };
  return document;
}

interface Operation {
  'x-rpc'?: string;
  responses: Record<string, unknown>;
}

function addResponses(operation: Operation, responses: ReturnType<typeof errorResponses>): void {
  for (const { status, ...response } of responses) operation.responses[status] = response;
}
