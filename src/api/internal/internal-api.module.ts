import { Module } from '@nestjs/common';
import type { DynamicModule } from '@nestjs/common';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { Logger } from '../../ports/logger';
import { HealthController } from './health.controller';
import { MetricsController } from './metrics.controller';
import { ReadinessChecks } from './readiness-checks';

export interface InternalApiOptions {
  /** Without it there are no health routes. */
  checks?: ReadinessChecks;
  servesMetrics: boolean;
  /** Gets the process's own metrics too, unless it has them. */
  registry: Registry;
  logger: Logger;
}

/** Health, readiness and metrics of a process, on a port that only probes and Prometheus reach. */
@Module({})
export class InternalApiModule {
  static register({ checks, servesMetrics, registry, logger }: InternalApiOptions): DynamicModule {
    // One of prom-client's own names stands for all of them: registering them twice would throw.
    if (!registry.getSingleMetric('process_start_time_seconds')) collectDefaultMetrics({ register: registry });
    return {
      module: InternalApiModule,
      controllers: [...(checks ? [HealthController] : []), ...(servesMetrics ? [MetricsController] : [])],
      providers: [
        ...(checks ? [{ provide: ReadinessChecks, useValue: checks }] : []),
        { provide: Registry, useValue: registry },
        { provide: Logger, useValue: logger },
      ],
    };
  }
}
