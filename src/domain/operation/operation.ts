/** An operation is one piece of work on one scheduler, with a record that clients can follow. */

export const operationStatuses = ['pending', 'in_progress', 'canceled', 'finished', 'evicted', 'error'] as const;
export type OperationStatus = (typeof operationStatuses)[number];

export type OperationEndStatus = Exclude<OperationStatus, 'pending' | 'in_progress'>;

/** v10's definition names; the input of each is what `GET .../operations/{id}` shows. */
export interface OperationInputs {
  /** The scheduler as v10 shows it (`scheduler-entity.ts`); for those who read it: the executor reads the scheduler itself. */
  create_scheduler: { scheduler: Record<string, unknown> };
  delete_scheduler: Record<string, never>;
  add_rooms: { amount: number };
  /** `amount` is how many ids there are: unlike v10, rooms are chosen when the operation is made, so a resumed one removes the same. */
  remove_rooms: { amount: number; roomIds: string[]; reason: RemovalReason };
  health_controller: { tookAction?: boolean };
}
export type OperationDefinition = keyof OperationInputs;

/** v10's reasons, as they appear in the input of `remove_rooms` and on what the runtime records. */
export type RemovalReason =
  | 'scale_down'
  | 'expired_room'
  | 'new_version_rollback'
  | 'new_version_validation_finished'
  | 'switch_version_rollback'
  | 'switch_version_replace'
  | 'rolling_update_replace'
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
  health_controller: 30,
};

/** Every kind of operation; each has exactly one executor. */
export const operationDefinitions = Object.keys(operationPriorities) as OperationDefinition[];

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
  /** How often a worker took it up; more than 1 means that it was resumed after a crash. */
  attempt: number;
  /** Who asked for it: `api`, `health_controller`, `system`. */
  actor: string;
  createdAt: Date;
  /** Set while a worker holds it. */
  leaseExpiresAt: Date | null;
}
