import { Module, type DynamicModule } from '@nestjs/common';
import { LoopHost } from '../features/loop-host';
import { FleetReporter } from '../features/reporting/fleet-reporter';
import type { ProcessResources } from './process-resources';
import { portProviders } from './shared-providers';

/** Exports the gauges of the fleets. */
@Module({})
export class MetricsReporterRole {
  static with(resources: ProcessResources): DynamicModule {
    return {
      module: MetricsReporterRole,
      providers: [
        ...portProviders(resources),
        FleetReporter,
        {
          provide: LoopHost,
          inject: [FleetReporter],
          useFactory: (reporter: FleetReporter) => new LoopHost([reporter]),
        },
      ],
    };
  }
}
