import { Module, type DynamicModule } from '@nestjs/common';
import { LoopHost } from '../features/loop-host';
import { SchedulerSettingsCache } from '../features/schedulers/scheduler-settings';
import { InstanceWatch } from '../features/watching/instance-watch';
import type { ProcessResources } from './process-resources';
import { portProviders } from './shared-providers';

/** Follows the runtime's instances into room state and repairs drift. */
@Module({})
export class RuntimeWatcherRole {
  static with(resources: ProcessResources): DynamicModule {
    return {
      module: RuntimeWatcherRole,
      providers: [
        ...portProviders(resources),
        InstanceWatch,
        {
          provide: LoopHost,
          inject: [SchedulerSettingsCache, InstanceWatch],
          useFactory: (...loops: [SchedulerSettingsCache, InstanceWatch]) => new LoopHost(loops),
        },
      ],
    };
  }
}
