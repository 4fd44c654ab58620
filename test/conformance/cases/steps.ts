import { answers, type JsonMap, type Step } from '../conformance-case';
import { sample, type Changes } from '../sample-scheduler';

const byName = { schedulerName: '{scheduler}' };

/** A scheduler that is set up. */
export function aScheduler(changes: Changes = {}): Step[] {
  return [
    answers('CreateScheduler', sample(changes), {}, { given: 'a scheduler' }),
    answers('GetScheduler', byName, { scheduler: { state: 'in-sync' } }, { given: 'that is set up', eventually: true }),
    isIdle,
  ];
}

/** Its operations have ended, so that what comes next meets no other. */
export const isIdle: Step = answers(
  'ListOperations',
  { ...byName, stage: 'active' },
  { total: 0 },
  { given: '', eventually: true },
);

export type VersionChange = 'NewSchedulerVersion' | 'PatchScheduler' | 'SwitchActiveVersion';

/** Asks for a change of version, and waits until it is through: the scheduler is then in sync with `version`. */
export function changesTo(version: string, call: VersionChange, message: JsonMap): Step[] {
  return [answers(call, message, {}), isActive(version), isIdle];
}

export function patchesTo(version: string, patch: JsonMap): Step[] {
  return changesTo(version, 'PatchScheduler', { name: '{scheduler}', ...patch });
}

export function postsTo(version: string, changes: Changes): Step[] {
  return changesTo(version, 'NewSchedulerVersion', sample(changes));
}

export function switchesTo(version: string): Step[] {
  return changesTo(version, 'SwitchActiveVersion', { ...byName, version });
}

export function isActive(version: string): Step {
  return answers('GetScheduler', byName, { scheduler: { state: 'in-sync', spec: { version } } }, { eventually: true });
}

/** What the scheduler is now, in its active version. */
export function is(scheduler: Parameters<typeof answers>[2]): Step {
  return answers('GetScheduler', byName, { scheduler });
}

export function ends(operationId: string, status: 'finished' | 'error' | 'canceled'): Step {
  return answers('GetOperation', { ...byName, operationId }, { operation: { status } }, { eventually: true });
}
