import { Module } from '@nestjs/common';
import type { DynamicModule, ModuleMetadata } from '@nestjs/common';
import type { OpenApiTitle } from '../openapi/open-api-document';
import { OperationsHandlers } from './operations-handlers';
import { OperationsController } from './operations.controller';
import { SchedulersHandlers } from './schedulers-handlers';
import { SchedulersController } from './schedulers.controller';

export const managementOpenApi: OpenApiTitle = {
  title: 'Maestro management API',
  description: 'Schedulers, their versions and their operations: what operators call.',
};

/** The management API. `features` brings SchedulersService and OperationsService: modules that export them, or providers. */
@Module({})
export class ManagementApiModule {
  static register(features: Pick<ModuleMetadata, 'imports' | 'providers'>): DynamicModule {
    return {
      module: ManagementApiModule,
      imports: features.imports ?? [],
      controllers: [SchedulersController, OperationsController],
      providers: [...(features.providers ?? []), SchedulersHandlers, OperationsHandlers],
      // The gRPC server calls the same handlers.
      exports: [SchedulersHandlers, OperationsHandlers],
    };
  }
}
