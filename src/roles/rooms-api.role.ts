import type { DynamicModule } from '@nestjs/common';
import { RoomsApiModule } from '../api/rooms/rooms-api.module';
import { EventForwardingService } from '../features/events/event-forwarding.service';
import { LoopHost, type Loop } from '../features/loop-host';
import { AllocationExpiry } from '../features/rooms/allocation-expiry';
import { AllocationWaits } from '../features/rooms/allocation-waits';
import { HealthRings } from '../features/rooms/health-rings';
import { HearingHeartbeat } from '../features/rooms/hearing-heartbeat';
import { NoticeBoard } from '../features/rooms/notice-board';
import { RoomAddressesService } from '../features/rooms/room-addresses.service';
import { RoomAllocationsService } from '../features/rooms/room-allocations.service';
import { RoomPingsService } from '../features/rooms/room-pings.service';
import { RoomStreamsService } from '../features/rooms/room-streams.service';
import { UnheardAllocations } from '../features/rooms/unheard-allocations';
import { SchedulerSettingsCache } from '../features/schedulers/scheduler-settings';
import { SchedulerVersionsCache } from '../features/schedulers/scheduler-versions';
import type { ProcessResources } from './process-resources';
import { portProviders } from './shared-providers';

/** What game rooms and matchmakers call. */
export function roomsApiRole(resources: ProcessResources): DynamicModule {
  return RoomsApiModule.register({
    providers: [
      ...portProviders(resources),
      HealthRings,
      RoomPingsService,
      EventForwardingService,
      RoomAddressesService,
      SchedulerVersionsCache,
      AllocationWaits,
      UnheardAllocations,
      RoomAllocationsService,
      AllocationExpiry,
      HearingHeartbeat,
      NoticeBoard,
      RoomStreamsService,
      {
        provide: LoopHost,
        inject: [SchedulerSettingsCache, HearingHeartbeat, NoticeBoard, RoomStreamsService, AllocationExpiry],
        useFactory: (...loops: Loop[]) => new LoopHost(loops),
      },
    ],
  });
}
