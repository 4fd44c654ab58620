import { countFleet } from '../../domain/room/count-fleet';
import type { HealthFacts, HealthPlan } from '../../domain/room/health-plan';
import type { Scheduler } from '../../domain/scheduler/scheduler';
import { mostHealthRecordBytes, type HealthAction, type HealthRecord } from '../../ports/health-records';

/** What a record is made of. */
export interface Look {
  scheduler: Pick<Scheduler, 'createdAt'>;
  facts: HealthFacts;
  plan: HealthPlan;
  actions: readonly HealthAction[];
  /** What the look before left; null when nobody knows. */
  earlier: HealthRecord | null;
}

/** How many rooms were left is noted so often at most, so far back. */
const sampleEveryMs = 5_000;
const mostSamples = 60;
const mostVersions = 50;

/**
 * What texts of others (a policy's, a runtime's) and lists that grow with the fleet are cut to; the first that fits. Characters of a
 * text may take six bytes each.
 */
const cuts = [
  { text: 1_000, ids: 10, webhooks: true },
  { text: 200, ids: 3, webhooks: true },
  { text: 50, ids: 0, webhooks: false },
];

/** A record of the look that is never too large, whatever its fleet and its definition are. */
export function composeHealthRecord(look: Look): HealthRecord {
  const records = cuts.map((cut) => compose(look, cut));
  const size = (record: HealthRecord): number => Buffer.byteLength(JSON.stringify(record));
  return records.find((record) => size(record) <= mostHealthRecordBytes) ?? records.at(-1)!;
}

function compose(
  { scheduler: { createdAt }, facts, plan, actions, earlier }: Look,
  cut: (typeof cuts)[number],
): HealthRecord {
  const { scheduler, nowMs } = facts;
  const { autoscaling } = scheduler;
  const rooms = facts.rooms.filter(({ validation }) => !validation);
  const isKnown = !facts.rebuilding;
  const brief = (text: string): string => (text.length <= cut.text ? text : `${text.slice(0, cut.text - 1)}…`);
  return {
    createdAtMs: createdAt.getTime(),
    seenAtMs: nowMs,
    version: scheduler.version,
    inputs: {
      counts: isKnown ? countFleet(rooms) : null,
      draining: isKnown ? rooms.filter(({ drainingSinceMs }) => drainingSinceMs !== null).length : null,
      available: plan.available,
      roomsReplicas: scheduler.roomsReplicas,
      maxMatches: scheduler.matchAllocation.maxMatches,
      maxSurge: scheduler.maxSurge,
      min: autoscaling?.enabled ? autoscaling.min : null,
      max: autoscaling?.enabled ? autoscaling.max : null,
      replacedVersions: [...facts.replacedVersions].sort().slice(0, mostVersions),
      lastDownscaleAtMs: facts.lastDownscaleAtMs,
      earlyEnds: facts.earlyEnds.count,
    },
    formula: brief(plan.formula),
    desired: plan.desired,
    notes: plan.notes.slice(0, 20).map(brief),
    actions: actions.map((action) => ({
      ...action,
      roomIds: action.roomIds.slice(0, cut.ids),
      reason: brief(action.reason),
    })),
    blockedBy: plan.blockedBy.map(({ code, detail }) => ({ code, detail: brief(detail) })),
    nextLookAtMs: plan.nextLookAtMs,
    rollout: plan.rollout,
    memory: {
      remembered: plan.remembered,
      webhookAnswers: cut.webhooks ? Object.fromEntries(facts.webhookAnswers) : {},
      rolloutSamples: samplesOf(facts, plan, earlier),
      outdatedAtMs: (plan.rollout?.outdated ?? 0) > 0 ? nowMs : facts.rollback.outdatedAtMs,
    },
  };
}

/** Those of this rollout: of another version's there may have been more rooms, or fewer. */
function samplesOf(
  { scheduler, nowMs }: HealthFacts,
  { rollout, counts }: HealthPlan,
  earlier: HealthRecord | null,
): HealthRecord['memory']['rolloutSamples'] {
  const before = earlier?.version === scheduler.version ? earlier.memory.rolloutSamples : [];
  // While the store is being rebuilt nobody knows.
  if (counts === null) return before;
  if (rollout === null) return [];
  const last = before.at(-1);
  if (last !== undefined && nowMs - last.atMs < sampleEveryMs && nowMs >= last.atMs) return before;
  return [...before, { atMs: nowMs, left: rollout.outdated + rollout.leaving }].slice(-mostSamples);
}
