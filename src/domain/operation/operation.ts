import type { SchedulerDefinition } from '../scheduler/scheduler';

/** An operation is one piece of work on one scheduler, with a record that clients can follow. */

export const operationStatuses = ['pending', 'in_progress', 'canceled', 'finished', 'evicted', 'error'] as const;
export type OperationStatus = (typeof operationStatuses)[number];

export type OperationEndStatus = Exclude<OperationStatus, 'pending' | 'in_progress'>;

/** v10's definition names; the input of each is what `GET .../operations/{id}` shows. */
export interface OperationInputs {
  /** The scheduler as v10 shows it (`scheduler-entity.ts`); for those who read it: the executor reads the scheduler itself. */
  create_scheduler: { scheduler: Record<string, unknown> };
  /** `scheduler` is what clients see, in v10's form; `definition` is what the executor stores as the new version. */
  create_new_scheduler_version: { scheduler: Record<string, unknown>; definition: SchedulerDefinition };
  /** Empty: the newest version there is. */
  switch_active_version: { newActiveVersion: string };
  delete_scheduler: Record<string, never>;
  add_rooms: { amount: number };
  /** `amount` is how many ids there are: unlike v10, rooms are chosen when the operation is made, so a resumed one removes the same. */
  remove_rooms: { amount: number; roomIds: string[]; reason: RemovalReason };
  health_controller: { tookAction?: boolean };
}
export type OperationDefinition = keyof OperationInputs;

/** v10's reasons, and ours at the end, as they appear in the input of `remove_rooms` and on what the runtime records. */
export type RemovalReason =
  | 'scale_down'
  | 'expired_room'
  | 'new_version_rollback'
  | 'new_version_validation_finished'
  | 'switch_version_rollback'
  | 'switch_version_replace'
  | 'rolling_update_replace'
  /** An operator named the room: no match spares it. */
  | 'deleted_by_name'
  /** It was drained, and is empty. */
  | 'drained'
  /** It drained for longer than its scheduler gives a match: none spares it. */
  | 'drain_deadline'
  /** No machine had its host ports free. */
  | 'host_port_taken'
  | 'scheduler_deleted';

/**
 * Who runs first among the pending operations of a scheduler; lower first, then age.
 * A deletion makes all other pending work pointless; what a health check created is due at once; users go before the
 * next health check (`architecture.md` 4).
 */
export const operationPriorities: Record<OperationDefinition, number> = {
  delete_scheduler: 0,
  add_rooms: 10,
  remove_rooms: 10,
  create_scheduler: 20,
  create_new_scheduler_version: 20,
  switch_active_version: 20,
  health_controller: 30,
};

/** Every kind of operation; each has exactly one executor. */
export const operationDefinitions = Object.keys(operationPriorities) as OperationDefinition[];

/**
 * A scheduler has at most one of these that has not ended (the database sees to it): v10's conflict rule
 * (`management.md` 1.8), without its gap between look and insert.
 */
export const versionChanges: readonly OperationDefinition[] = ['create_new_scheduler_version', 'switch_active_version'];

/** What may run while another operation of the scheduler only waits, so that a slow validation never stops healing. */
export const healingDefinitions: readonly OperationDefinition[] = ['health_controller', 'add_rooms', 'remove_rooms'];

export interface OperationEvent {
  createdAt: Date;
  event: string;
}

export interface Operation<D extends OperationDefinition = OperationDefinition> {
  id: string;
  scheduler: string;
  definition: D;
  input: OperationInputs[D];
  status: OperationStatus;
  /** How often in a row a worker took it up, since it began, waited, or began to roll back; more than 1: it was interrupted. */
  attempt: number;
  /** Who asked for it: `api`, `health_controller`, `system`. */
  actor: string;
  /** Why, in words; empty where the definition says it all. */
  reason: string;
  createdAt: Date;
  startedAt: Date | null;
  finishedAt: Date | null;
  cancelRequestedAt: Date | null;
  /** It is in progress, but waits for something that takes long: no worker is busy with it, and the slot is free for healing. */
  waiting: boolean;
  /** In progress: until when a worker holds it, or, while it waits, when it is looked at next at the latest. */
  leaseExpiresAt: Date | null;
}
