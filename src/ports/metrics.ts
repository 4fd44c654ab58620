import type { DeliveryCode } from '../domain/event/delivery';
import type { GameEvent } from '../domain/event/event';
import type { RefusalReason } from '../domain/event/plan-forwarding';
import type { FailureReason } from '../domain/room/failure-reason';
import type { FleetCounts } from '../domain/room/room';
import type { OperationDefinition } from '../domain/operation/operation';
import type { WebhookFailure } from './desired-rooms-webhook';
import type { HealthAction } from './health-records';

/** One scheduler's gauges at one moment. Absent numbers export no series. */
export interface FleetGauges {
  scheduler: string;
  game: string;
  counts: FleetCounts;
  maxMatches: number;
  readyTarget?: number;
  fixedBuffer?: number;
}

export interface OperationRun {
  scheduler: string;
  game: string;
  definition: OperationDefinition;
  success: boolean;
  elapsedMs: number;
}

/** An event of a game, at one of its forwarders. */
export interface ForwardedEvent {
  scheduler: string;
  game: string;
  kind: GameEvent['kind'];
  code: DeliveryCode;
  success: boolean;
}

/** Why a ping was not stored; what a room is told on its stream, too. */
export type PingFailure = 'unknown_scheduler' | 'unknown_room' | 'refused' | 'store_error';

/** What a caller who wanted a room was told. */
export type AllocationAnswer =
  | 'allocated'
  /** The room that was given for the same key before. */
  | 'repeated'
  | 'no_ready_room'
  /** No room, after a wait. */
  | 'timed_out'
  /** The caller went away while it waited. */
  | 'canceled'
  | 'rebuilding'
  | 'store_error'
  | 'unknown_scheduler'
  | 'key_reused'
  | 'too_many_waiting'
  /** The process stopped during the wait. */
  | 'stopping';

/** What a runtime is told for the sake of matches. */
export type ProtectionChange = 'protect' | 'release' | 'budget';

/** What is measured, in the system's words. Labels stay bounded: never an id, never free text. */
export abstract class Metrics {
  abstract operationExecuted(run: OperationRun): void;
  abstract operationRolledBack(run: OperationRun): void;
  abstract operationEvicted(run: Omit<OperationRun, 'success' | 'elapsedMs'>, reason: string): void;
  abstract operationWorkerFailed(scheduler: string, game: string, reason: string): void;
  /** Old ones that retention deleted: health checks that did nothing, what healed a scheduler, what changed it. */
  abstract operationsDeleted(kind: 'no_action' | 'healing' | 'change', count: number): void;
  abstract roomCreationFailed(scheduler: string): void;
  abstract roomDeletionFailed(scheduler: string): void;
  abstract healthPlanned(scheduler: string, game: string, figures: HealthFigures): void;
  /** What a health cycle did, or ordered, with so many rooms (with one version, where it is a rollback). */
  abstract healthActed(scheduler: string, game: string, action: HealthAction['action'], amount: number): void;
  /** A service was asked how many rooms a scheduler should have. */
  abstract webhookAsked(scheduler: string, outcome: 'answered' | WebhookFailure): void;
  /** `scheduler` is null when none of the name that the ping said is known. */
  abstract pingFailed(scheduler: string | null, reason: PingFailure): void;
  /** Whether a caller was given a room, after how long. `scheduler` is null when none of the name that it said is known. */
  abstract allocationAnswered(scheduler: string | null, outcome: AllocationAnswer, elapsedMs: number): void;
  /** What became of allocations afterwards: through their callers, each once, or by the clock (`RoomAllocationStore.expire`). */
  abstract allocationsChanged(change: 'confirmed' | 'released' | 'expired', count: number): void;
  /** How many callers wait for a room in this process now. */
  abstract allocationCallersWaiting(count: number): void;
  abstract eventForwarded(event: ForwardedEvent): void;
  /** No forwarder was told of it. */
  abstract eventRefused(
    scheduler: string,
    kind: GameEvent['kind'],
    reason: RefusalReason | 'unknown_scheduler' | 'scheduler_unreadable',
  ): void;
  /** A call of any forwarder; `method` as its service names it. */
  abstract forwarderCalled(method: string, code: DeliveryCode, elapsedMs: number): void;
  /** An instance of this scheduler failed; told once for each of its reasons. */
  abstract instanceFailed(scheduler: string, reason: FailureReason): void;
  abstract instanceChangeProcessed(scheduler: string, type: 'added' | 'updated' | 'deleted', success: boolean): void;
  abstract driftRepaired(
    kind:
      | 'counter'
      | 'room_without_instance'
      | 'instance_adopted'
      | 'instance_unknown'
      | 'validation_room_left'
      | 'ended_room_left'
      | 'host_ports',
    count: number,
  ): void;
  /** The runtime was told which room may not be moved, or how many; or it was tried. */
  abstract protectionChanged(change: ProtectionChange, outcome: 'done' | 'not_found' | 'failed'): void;
  /** Rooms whose runtime is to be told something else of them, and for how long the first that is to be protected has waited. */
  abstract protectionsWaiting(count: number, oldestMs: number): void;
  /** Replaces the series of every scheduler: those that are not named vanish. An empty list clears them (a standby). */
  abstract fleetsReported(fleets: FleetGauges[]): void;
  /** Seconds since the epoch at which a loop last finished a round: loop freshness. */
  abstract loopFinished(loop: string): void;
  /** Removes what is labelled with a scheduler that is gone. */
  abstract schedulerDeleted(scheduler: string): void;
}

export interface HealthFigures {
  desired: number;
  available: number;
  terminationTimeouts: number;
  properlyTerminated: number;
  /** Rooms of replaced versions that are left, those included that drain with a match. */
  toReplace: number;
  /** 1 while the automation is paused, else 0. */
  paused: number;
  /** For how long the fleet is taken to back off, because rooms keep failing, unless it is looked at again; 0: it does not. Milliseconds. */
  backsOffForMs: number;
}
