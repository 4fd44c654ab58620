import type { WebhookAnswer } from '../domain/autoscaling/policy-facts';
import type { Recommendation } from '../domain/autoscaling/stabilise';
import type { HealthBlock, RolloutState } from '../domain/room/health-plan';
import type { FleetCounts } from '../domain/room/room';

/** One thing that a health cycle does. */
export interface HealthAction {
  action:
    /** Rooms are made. */
    | 'add'
    /** Rooms that are too many are claimed: they go when they are still empty one ping interval later. */
    | 'scale_down'
    /** Rooms of replaced versions get no new players. */
    | 'drain'
    /** A claim or a drain is taken back. */
    | 'release'
    /** Rooms that are over, or drained, are removed. */
    | 'remove'
    /** The version before comes back. */
    | 'rollback';
  amount: number;
  /** The first of the rooms that it is about; empty where they have no ids yet. */
  roomIds: string[];
  /** Why, in words. */
  reason: string;
}

/** What a health cycle saw, decided and why. */
export interface HealthRecord {
  /** Of the scheduler: what is recorded of one that was created at another time is of another one, which had the same name. */
  createdAtMs: number;
  /** The store's clock, milliseconds since the epoch. */
  seenAtMs: number;
  /** The active version. */
  version: string;
  inputs: {
    /** All rooms but validation rooms, as the store has them. Null while it is being rebuilt. */
    counts: FleetCounts | null;
    /** Those of them that drain: they are no capacity, but for those that leave for a rollout with a match. Null while it is being rebuilt. */
    draining: number | null;
    /** Rooms that count as capacity, used or not. Null while the store is being rebuilt. */
    available: number | null;
    roomsReplicas: number;
    maxMatches: number;
    maxSurge: string;
    /** The autoscaling's, where it is enabled; max -1: no limit. */
    min: number | null;
    max: number | null;
    /** Versions that still have rooms and are to be replaced. */
    replacedVersions: string[];
    lastDownscaleAtMs: number | null;
    /** Rooms that failed or ended soon after their start, within the last minutes. */
    earlyEnds: number;
  };
  formula: string;
  desired: number | null;
  notes: string[];
  actions: HealthAction[];
  blockedBy: HealthBlock[];
  nextLookAtMs: number | null;
  rollout: RolloutState | null;
  /** What the next cycle goes by. */
  memory: {
    remembered: Recommendation[];
    webhookAnswers: Record<string, WebhookAnswer>;
    /** How many rooms of replaced versions were left, at times that are some seconds apart, oldest first: what an ETA is made of. */
    rolloutSamples: { atMs: number; left: number }[];
    /** When the last look was at which rooms of replaced versions were not draining yet; null when there was none since the active one is. */
    outdatedAtMs: number | null;
  };
}

/**
 * The shape of a record. To be raised with every change of it: processes of two releases meet the records of each other, and take
 * one of another shape for none.
 */
export const healthRecordFormat = 1;

/** As JSON. What grows with a fleet or a definition is cut by who writes the record (`compose-health-record.ts`). */
export const mostHealthRecordBytes = 64 * 1024;

/**
 * The last record of each scheduler's health cycles: for those who ask why, and for the next cycle. It may be lost, and is gone
 * with the rooms of its scheduler (`RoomStore.deleteScheduler`).
 */
export abstract class HealthRecords {
  /**
   * In place of the one before.
   * @throws DomainError `health_record.too_large` (internal) beyond `mostHealthRecordBytes`.
   */
  abstract write(scheduler: string, record: HealthRecord): Promise<void>;

  /**
   * Null when no cycle has looked at the scheduler since the store was empty, and where the last one left what cannot be read: the
   * record of another release. That is warned of.
   */
  abstract read(scheduler: string): Promise<HealthRecord | null>;
}
