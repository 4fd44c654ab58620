import type { WebhookParameters } from '../scheduler/scheduler';
import { policyOf, type AnyPolicy } from './apply-policy';
import type { FleetSettings } from './fleet-settings';

/**
 * The webhooks that the scheduler's policy may go by: what has to be asked before it is applied. Each URL once, with the longest
 * of its deadlines; also those that a chain only comes to when others say nothing. None without autoscaling.
 */
export function webhooksOfPolicy(settings: FleetSettings): WebhookParameters[] {
  const byUrl = new Map<string, WebhookParameters>();
  const visit = ({ type, schedule, webhook, chain }: AnyPolicy): void => {
    if (type === 'schedule' && schedule?.base) visit(schedule.base);
    if (type === 'chain') chain?.policies.forEach(visit);
    if (type !== 'webhook' || !webhook) return;
    const known = byUrl.get(webhook.url);
    if (!known || known.timeoutMs < webhook.timeoutMs) byUrl.set(webhook.url, webhook);
  };
  const policy = policyOf(settings);
  if (policy) visit(policy);
  return [...byUrl.values()];
}
