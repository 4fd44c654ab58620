import { Injectable } from '@nestjs/common';
import { webhooksOfPolicy } from '../../domain/autoscaling/webhooks-of-policy';
import { messageOf } from '../../domain/errors';
import { versionChanges } from '../../domain/operation/operation';
import { failureWindowOf, rolloutSettingsOf } from '../../domain/rollout/rollout-settings';
import { limitsOfScheduler, type RoomLimits } from '../../domain/room/classify-room';
import { countFleet } from '../../domain/room/count-fleet';
import type { HealthFacts } from '../../domain/room/health-plan';
import { sortFleet } from '../../domain/room/sort-fleet';
import { earlyEndWindowMs, failuresKeptMs } from '../../domain/room/start-back-off';
import type { Scheduler } from '../../domain/scheduler/scheduler';
import { HealthRecords, type HealthRecord } from '../../ports/health-records';
import { Logger } from '../../ports/logger';
import { OperationStore } from '../../ports/operation-store';
import { RoomStore } from '../../ports/room-store';
import { SchedulerStore, type SchedulerAutomation } from '../../ports/scheduler-store';
import { RepeatedWarnings } from '../repeated-warnings';
import { ownRecord } from './own-record';
import { VersionDifferences } from './version-differences';
import { WebhookAnswers, type WebhookReports } from './webhook-answers';

export class HealthCycleOptions {
  readonly limits!: Omit<RoomLimits, 'drainDeadlineMs'>;
  readonly addLimit!: number;
  readonly removeLimit!: number;
}

const unknownAutomation: SchedulerAutomation = {
  paused: null,
  isBroughtBack: false,
  activeForMs: null,
  activatedFrom: '',
};

export interface GatheredFacts {
  facts: HealthFacts;
  /** What the last look left; null when there is none. */
  earlier: HealthRecord | null;
}

/** Gathers what a health cycle is decided from. Reads only; its cost does not grow with a fleet but for the pages of its rooms. */
@Injectable()
export class HealthFactsReader {
  private readonly warnings: RepeatedWarnings;

  constructor(
    private readonly schedulers: SchedulerStore,
    private readonly rooms: RoomStore,
    private readonly operations: OperationStore,
    private readonly records: HealthRecords,
    private readonly versions: VersionDifferences,
    private readonly webhooks: WebhookAnswers,
    logger: Logger,
    private readonly options: HealthCycleOptions,
  ) {
    this.warnings = new RepeatedWarnings(logger);
  }

  /**
   * To be called outside of any transaction: webhooks are asked. `reuseAnswersForMs`: their answers that are no older are taken
   * again.
   */
  async gather(
    scheduler: Scheduler,
    { reuseAnswersForMs, signal }: { reuseAnswersForMs: number; signal?: AbortSignal | undefined },
  ): Promise<GatheredFacts> {
    const { name, definition } = scheduler;
    const automation = await this.readAutomation(name);
    const { automaticRollback, failureShare, ...stated } = rolloutSettingsOf(definition);
    const limits = limitsOfScheduler(this.options.limits, definition);
    const failureWindowMs = failureWindowOf(stated, limits);
    const [fleet, earlier] = await Promise.all([
      this.rooms.readFleet(name, {
        failureWindowMs: sinceActive(failureWindowMs, automation.activeForMs),
        earlyEndWindowMs: sinceActive(earlyEndWindowMs, automation.activeForMs),
      }),
      this.readEarlier(scheduler),
    ]);
    const { rooms, nowMs, hearingSinceMs, rebuilding, earlyEnds } = fleet;
    const failures = fleet.failures.get(scheduler.version) ?? { count: 0, lastReason: '' };
    const replacedVersions = await this.versions.findReplaced(scheduler, versionsOf(rooms));
    const outdatedAtMs = earlier?.version === scheduler.version ? earlier.memory.outdatedAtMs : null;
    const isRollout = replacedVersions.size > 0 || outdatedAtMs !== null;
    const mayRollBack = automaticRollback && !automation.isBroughtBack && isRollout;
    const { paused } = automation;
    const facts: HealthFacts = {
      rooms,
      nowMs,
      hearingSinceMs,
      rebuilding,
      earlyEnds,
      scheduler: { ...definition, version: scheduler.version },
      replacedVersions,
      rollback: {
        toVersion: '',
        isAllowed: false,
        failed: failures.count,
        lastReason: failures.lastReason,
        failureShare,
        failureWindowMs,
        outdatedAtMs,
        ...(mayRollBack && failures.count > 0 ? await this.findRollback(scheduler, automation) : {}),
      },
      paused: paused && { sinceMs: paused.since.getTime(), by: paused.by, reason: paused.reason },
      lastDownscaleAtMs: scheduler.lastDownscaleAt?.getTime() ?? null,
      webhookAnswers: new Map(),
      webhookSilences: new Map(),
      last: earlier && { desired: earlier.desired, remembered: earlier.memory.remembered },
      limits,
      addLimit: this.options.addLimit,
      removeLimit: this.options.removeLimit,
    };
    const { answers, silences } = await this.askWebhooks(scheduler, facts, {
      earlier,
      reuseForMs: reuseAnswersForMs,
      signal,
    });
    return { facts: { ...facts, webhookAnswers: answers, webhookSilences: silences }, earlier };
  }

  /** Unknown: it was deleted just now, and nothing holds it back from being looked at once more. */
  private async readAutomation(name: string): Promise<SchedulerAutomation> {
    return (await this.schedulers.readAutomation(name)) ?? unknownAutomation;
  }

  /** A record is for those who ask why, and may be lost: one that cannot be read keeps no fleet from being healed. */
  private async readEarlier(scheduler: Scheduler): Promise<HealthRecord | null> {
    try {
      return ownRecord(scheduler, await this.records.read(scheduler.name));
    } catch (error) {
      this.warnings.warn(
        { scheduler_name: scheduler.name, err: messageOf(error) },
        'the record of the last look could not be read',
      );
      return null;
    }
  }

  /** Somebody who changes the version already knows better than a rollback. */
  private async findRollback(
    scheduler: Scheduler,
    { activatedFrom }: SchedulerAutomation,
  ): Promise<{ toVersion: string; isAllowed: boolean }> {
    const [toVersion, openChange] = await Promise.all([
      this.versions.findRollbackVersion(scheduler, activatedFrom),
      this.operations.findOpen(scheduler.name, versionChanges),
    ]);
    return { toVersion, isAllowed: openChange === null };
  }

  private async askWebhooks(
    { name, version, definition, createdAt }: Scheduler,
    facts: HealthFacts,
    {
      earlier,
      reuseForMs,
      signal,
    }: { earlier: HealthRecord | null; reuseForMs: number; signal: AbortSignal | undefined },
  ): Promise<WebhookReports> {
    const webhooks = webhooksOfPolicy(definition);
    const remembered = earlier?.memory.webhookAnswers ?? {};
    if (webhooks.length === 0) return { answers: new Map(), silences: new Map() };
    // Nobody knows the fleet: nothing can be asked, and what was said last is kept.
    if (facts.rebuilding) return { answers: new Map(Object.entries(remembered)), silences: new Map() };
    const { capacity, leaving } = sortFleet(facts);
    const { roomsReplicas, autoscaling, matchAllocation } = definition;
    return this.webhooks.gather(webhooks, {
      question: {
        scheduler: name,
        version,
        counts: countFleet([...capacity, ...leaving]),
        maxMatches: matchAllocation.maxMatches,
        roomsReplicas,
        min: autoscaling?.min ?? 0,
        max: autoscaling?.max ?? -1,
        lastDesired: earlier?.desired ?? null,
      },
      createdAtMs: createdAt.getTime(),
      nowMs: facts.nowMs,
      remembered,
      reuseForMs,
      signal,
    });
  }
}

/** Validation rooms are no part of the fleet, and those that go need nobody to replace them. */
function versionsOf(rooms: HealthFacts['rooms']): Set<string> {
  const isThere = ({ validation, status }: HealthFacts['rooms'][number]): boolean =>
    !validation && status !== 'terminating' && status !== 'terminated';
  return new Set(rooms.filter(isThere).map(({ version }) => version));
}

/** A version is not judged by how it failed when it was active the last time, nor held back by how others did: it may be the cure. */
function sinceActive(windowMs: number, activeForMs: number | null): number {
  return Math.max(1, Math.min(windowMs, activeForMs ?? windowMs, failuresKeptMs));
}
