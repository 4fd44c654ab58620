import { BullModule } from '@nestjs/bullmq';
import { Module, type DynamicModule } from '@nestjs/common';
import { WakeUpQueueErrors, wakeUpProcessors } from '../adapters/bullmq/wake-up.processor';
import { bullPrefix, wakeUpQueues } from '../adapters/bullmq/wake-up-queues';
import { operationDefinitions } from '../domain/operation/operation';
import { LoopHost, type Loop } from '../features/loop-host';
import { ExecutorRegistry, type Executor } from '../features/operations/executor';
import { AddRoomsExecutor } from '../features/operations/executors/add-rooms.executor';
import { CreateNewVersionExecutor } from '../features/operations/executors/create-new-version.executor';
import { CreateSchedulerExecutor } from '../features/operations/executors/create-scheduler.executor';
import { DeleteSchedulerExecutor } from '../features/operations/executors/delete-scheduler.executor';
import { HealthControllerExecutor } from '../features/operations/executors/health-controller.executor';
import { RemoveRoomsExecutor } from '../features/operations/executors/remove-rooms.executor';
import { SwitchActiveVersionExecutor } from '../features/operations/executors/switch-active-version.executor';
import { OperationRetention } from '../features/operations/operation-retention';
import { OperationRunner } from '../features/operations/operation-runner';
import { OperationSweep } from '../features/operations/operation-sweep';
import { SchedulerPlaces } from '../features/operations/scheduler-places';
import { OperationsService } from '../features/operations/operations.service';
import { WorkerWakeUpAnswers } from '../features/operations/wake-up-answers';
import { HealthCycle } from '../features/reconciling/health-cycle';
import { HealthFactsReader } from '../features/reconciling/health-facts-reader';
import { HealthSchedule } from '../features/reconciling/health-schedule';
import { VersionDifferences } from '../features/reconciling/version-differences';
import { WebhookAnswers } from '../features/reconciling/webhook-answers';
import { RoomLifecycle } from '../features/rooms/room-lifecycle';
import { WakeUpAnswers } from '../ports/wake-ups';
import type { ProcessResources } from './process-resources';
import { portProviders } from './shared-providers';

/** One for each kind of operation. */
export const executors = [
  CreateSchedulerExecutor,
  CreateNewVersionExecutor,
  SwitchActiveVersionExecutor,
  DeleteSchedulerExecutor,
  AddRoomsExecutor,
  RemoveRoomsExecutor,
  HealthControllerExecutor,
];

/** Runs operations, one at a time per scheduler, and looks after the schedulers' health. */
@Module({})
export class WorkerRole {
  static with(resources: ProcessResources): DynamicModule {
    return {
      module: WorkerRole,
      imports: [
        BullModule.forRoot({ connection: resources.bullRedis, prefix: bullPrefix }),
        ...Object.values(wakeUpQueues).map((name) => BullModule.registerQueue({ name })),
      ],
      providers: [
        ...portProviders(resources),
        ...executors,
        {
          provide: ExecutorRegistry,
          inject: executors,
          useFactory: (...all: Executor[]) => new ExecutorRegistry(all, operationDefinitions),
        },
        OperationsService,
        RoomLifecycle,
        SchedulerPlaces,
        VersionDifferences,
        WebhookAnswers,
        HealthFactsReader,
        HealthCycle,
        OperationRunner,
        OperationSweep,
        OperationRetention,
        HealthSchedule,
        { provide: WakeUpAnswers, useClass: WorkerWakeUpAnswers },
        ...wakeUpProcessors(
          {
            lockDurationMs: resources.config.wakeUpLockDurationMs,
            stalledIntervalMs: resources.config.wakeUpStalledIntervalMs,
          },
          resources.config.operationConcurrency,
          () => resources.bullRedis.status === 'ready',
        ),
        WakeUpQueueErrors,
        {
          provide: LoopHost,
          inject: [OperationSweep, OperationRetention, HealthSchedule, OperationRunner],
          useFactory: (...loops: Loop[]) => new LoopHost(loops),
        },
      ],
    };
  }
}
