import { Module } from '@nestjs/common';
import type { DynamicModule, ModuleMetadata } from '@nestjs/common';
import type { OpenApiTitle } from '../openapi/open-api-document';
import { BacktestsController } from './backtests.controller';
import { BacktestsHandlers } from './backtests-handlers';
import { OperationDetailsController } from './operation-details.controller';
import { OperationDetailsHandlers } from './operation-details-handlers';
import { OperationsHandlers } from './operations-handlers';
import { OperationsController } from './operations.controller';
import { SchedulerAutomationController } from './scheduler-automation.controller';
import { SchedulerAutomationHandlers } from './scheduler-automation-handlers';
import { SchedulerPlansController } from './scheduler-plans.controller';
import { SchedulerPlansHandlers } from './scheduler-plans-handlers';
import { SchedulerRoomsController } from './scheduler-rooms.controller';
import { SchedulerRoomsHandlers } from './scheduler-rooms-handlers';
import { SchedulersHandlers } from './schedulers-handlers';
import { SchedulersController } from './schedulers.controller';

export const managementOpenApi: OpenApiTitle = {
  title: 'Maestro management API',
  description: 'Schedulers, their versions, rooms, operations and automation: what operators call.',
};

/** What answers the rpcs, over REST and gRPC alike. */
const handlers = [
  SchedulersHandlers,
  SchedulerPlansHandlers,
  SchedulerRoomsHandlers,
  SchedulerAutomationHandlers,
  OperationsHandlers,
  OperationDetailsHandlers,
  BacktestsHandlers,
];

/** The management API. `features` brings the services that the handlers call: modules that export them, or providers. */
@Module({})
export class ManagementApiModule {
  static register(features: Pick<ModuleMetadata, 'imports' | 'providers'>): DynamicModule {
    return {
      module: ManagementApiModule,
      imports: features.imports ?? [],
      controllers: [
        SchedulersController,
        SchedulerPlansController,
        SchedulerRoomsController,
        SchedulerAutomationController,
        OperationsController,
        OperationDetailsController,
        BacktestsController,
      ],
      providers: [...(features.providers ?? []), ...handlers],
      // The gRPC server calls the same handlers.
      exports: handlers,
    };
  }
}
