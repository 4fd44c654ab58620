import type { Spec } from './scheduler';

/** v10's grace period where the scheduler states none. */
const defaultGraceMs = 30_000;

/** How long an instance of the scheduler has to end after it was told to. Milliseconds. */
export function terminationGraceMs({ terminationGracePeriodNs }: Pick<Spec, 'terminationGracePeriodNs'>): number {
  return Math.ceil(terminationGracePeriodNs / 1e6) || defaultGraceMs;
}
