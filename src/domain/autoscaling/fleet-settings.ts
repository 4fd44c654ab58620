import type { SchedulerDefinition } from '../scheduler/scheduler';

/** The part of a scheduler that decides its size. */
export type FleetSettings = Pick<
  SchedulerDefinition,
  'roomsReplicas' | 'autoscaling' | 'matchAllocation' | 'extensions'
>;
