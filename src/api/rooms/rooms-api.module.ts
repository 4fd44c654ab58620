import { Module } from '@nestjs/common';
import type { DynamicModule, ModuleMetadata } from '@nestjs/common';
import type { OpenApiTitle } from '../openapi/open-api-document';
import { AllocationsHandlers } from './allocations-handlers';
import { AllocationsController } from './allocations.controller';
import { RoomStreamsHandlers } from './room-streams-handlers';
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
      controllers: [RoomsController, AllocationsController],
      providers: [...(features.providers ?? []), RoomsHandlers, AllocationsHandlers, RoomStreamsHandlers],
      // The gRPC server calls the same handlers.
      exports: [RoomsHandlers, AllocationsHandlers, RoomStreamsHandlers],
    };
  }
}
