import type { DynamicModule } from '@nestjs/common';
import { RoomsApiModule } from '../api/rooms/rooms-api.module';
import { EventForwardingService } from '../features/events/event-forwarding.service';
import { LoopHost } from '../features/loop-host';
import { HearingHeartbeat } from '../features/rooms/hearing-heartbeat';
import { RoomAddressesService } from '../features/rooms/room-addresses.service';
import { RoomAllocationsService } from '../features/rooms/room-allocations.service';
import { RoomPingsService } from '../features/rooms/room-pings.service';
import { SchedulerSettingsCache } from '../features/schedulers/scheduler-settings';
import type { ProcessResources } from './process-resources';
import { portProviders } from './shared-providers';

/** What game rooms and matchmakers call. */
export function roomsApiRole(resources: ProcessResources): DynamicModule {
  return RoomsApiModule.register({
    providers: [
      ...portProviders(resources),
      RoomPingsService,
      EventForwardingService,
      RoomAddressesService,
      RoomAllocationsService,
      HearingHeartbeat,
      {
        provide: LoopHost,
        inject: [SchedulerSettingsCache, HearingHeartbeat],
        useFactory: (settings: SchedulerSettingsCache, heartbeat: HearingHeartbeat) =>
          new LoopHost([settings, heartbeat]),
      },
    ],
  });
}
