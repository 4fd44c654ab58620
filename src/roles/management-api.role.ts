import type { DynamicModule } from '@nestjs/common';
import { ManagementApiModule } from '../api/management/management-api.module';
import { BacktestsService } from '../features/backtesting/backtests.service';
import { OperationsService } from '../features/operations/operations.service';
import { AutomationReportsService } from '../features/reconciling/automation-reports.service';
import { AutomationService } from '../features/reconciling/automation.service';
import { FleetRoomsService } from '../features/rooms/fleet-rooms.service';
import { SchedulerPlansService } from '../features/schedulers/scheduler-plans.service';
import { SchedulersService } from '../features/schedulers/schedulers.service';
import type { ProcessResources } from './process-resources';
import { portProviders } from './shared-providers';

/** What operators call. */
export function managementApiRole(resources: ProcessResources): DynamicModule {
  return ManagementApiModule.register({
    providers: [
      ...portProviders(resources),
      SchedulersService,
      SchedulerPlansService,
      FleetRoomsService,
      AutomationService,
      AutomationReportsService,
      OperationsService,
      BacktestsService,
    ],
  });
}
