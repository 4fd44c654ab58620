import { Module } from '@nestjs/common';
import type { DynamicModule, ModuleMetadata } from '@nestjs/common';
import type { OpenApiTitle } from '../openapi/open-api-document';
import { RoomsHandlers } from './rooms-handlers';
import { RoomsController } from './rooms.controller';

export const roomsOpenApi: OpenApiTitle = {
  title: 'Maestro rooms API',
  description: 'What game rooms and matchmakers call.',
};

/** The rooms API. `features` brings what the handlers call: modules that export it, or providers. */
@Module({})
export class RoomsApiModule {
  static register(features: Pick<ModuleMetadata, 'imports' | 'providers'>): DynamicModule {
    return {
      module: RoomsApiModule,
      imports: features.imports ?? [],
      controllers: [RoomsController],
      providers: [...(features.providers ?? []), RoomsHandlers],
      // The gRPC server calls the same handlers.
      exports: [RoomsHandlers],
    };
  }
}
