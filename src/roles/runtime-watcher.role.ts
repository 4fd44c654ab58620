import { Module, type DynamicModule } from '@nestjs/common';
import { LoopHost } from '../features/loop-host';
import { HealthRings } from '../features/rooms/health-rings';
import { SchedulerSettingsCache } from '../features/schedulers/scheduler-settings';
import { InstanceWatch } from '../features/watching/instance-watch';
import { MatchProtection } from '../features/watching/match-protection';
import type { ProcessResources } from './process-resources';
import { portProviders } from './shared-providers';

/** Follows the runtime's instances into room state, repairs drift, and tells the runtime which rooms have a match. */
@Module({})
export class RuntimeWatcherRole {
  static with(resources: ProcessResources): DynamicModule {
    return {
      module: RuntimeWatcherRole,
      providers: [
        ...portProviders(resources),
        HealthRings,
        InstanceWatch,
        MatchProtection,
        {
          provide: LoopHost,
          inject: [SchedulerSettingsCache, InstanceWatch, MatchProtection],
          useFactory: (...loops: [SchedulerSettingsCache, InstanceWatch, MatchProtection]) => new LoopHost(loops),
        },
      ],
    };
  }
}
