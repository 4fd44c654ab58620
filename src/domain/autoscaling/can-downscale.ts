import type { FleetCounts } from '../room/room';
import { applyPolicy, nameOfWebhook, policyOf } from './apply-policy';
import type { DownscaleDecision } from './downscale-by-policy';
import type { FleetSettings } from './fleet-settings';
import type { PolicyFacts } from './policy-facts';
import { webhooksOfPolicy } from './webhooks-of-policy';

export type { DownscaleDecision } from './downscale-by-policy';

/**
 * Whether a fleet that has more rooms than desired may shrink: always without autoscaling and where no policy says anything;
 * otherwise by the rule of the policy that decided how many there should be (`downscale-by-policy.ts`). Not while the answer of a
 * webhook that does not fail is on its way and no earlier one holds: what stands in for it is a guess, for moments.
 *
 * @throws DomainError `autoscaling.policy_invalid` for a policy that validation would have refused, and
 *   `autoscaling.facts_missing` for a policy that goes by facts which were not given.
 */
export function canDownscale(settings: FleetSettings, counts: FleetCounts, facts?: PolicyFacts): DownscaleDecision {
  const policy = policyOf(settings);
  if (!policy) return { allowed: true, formula: 'without autoscaling' };
  const verdict = applyPolicy(policy, { settings, counts, facts });
  const awaited = facts && findAwaited(settings, facts);
  if (awaited !== undefined) {
    const formula = `webhook ${nameOfWebhook(awaited)} was asked, and has not answered yet; no room goes before it has, or has failed`;
    return { allowed: false, formula };
  }
  return verdict.applies ? verdict.judgeDownscale() : { allowed: true, formula: verdict.formula };
}

/** The URL of such a webhook. */
function findAwaited(
  settings: FleetSettings,
  { nowMs, webhookAnswers, webhookSilences }: PolicyFacts,
): string | undefined {
  return webhooksOfPolicy(settings).find(({ url, maxAnswerAgeSeconds }) => {
    const silence = webhookSilences?.get(url);
    if (!silence || silence.askedAtMs === null || silence.failure !== null) return false;
    const answer = webhookAnswers?.get(url);
    return !answer || nowMs - answer.atMs > maxAnswerAgeSeconds * 1000;
  })?.url;
}

/**
 * When the next scale-down may happen: the fleet waits while this is later than now. Null when there is nothing to wait for.
 * Adding rooms never waits.
 */
export function cooldownEndsAtMs(settings: FleetSettings, lastDownscaleAtMs: number | null): number | null {
  if (!settings.autoscaling?.enabled || lastDownscaleAtMs === null) return null;
  return lastDownscaleAtMs + settings.autoscaling.cooldown * 1000;
}
