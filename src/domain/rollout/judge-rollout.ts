import { exactDecimal } from '../exact-decimal';
import { asClause } from '../phrases';
import type { RolloutProgress } from './plan-replacement';

export interface RolloutFacts {
  progress: Pick<RolloutProgress, 'updated'>;
  /** Rooms of the active version that failed, or ended unasked, within the window. */
  failed: number;
  /** What the runtime said of the last of them. */
  lastReason: string;
  /** Share of the new rooms, 0 < x <= 1, that may fail. */
  failureShare: number;
  failureWindowMs: number;
  /** The version that was active before; empty when there was none. */
  rollbackVersion: string;
  /** False where the scheduler does not want it, and for a version that a rollback has brought back. */
  mayRollBack: boolean;
}

export interface RolloutRollback {
  toVersion: string;
  /** A sentence with the numbers. */
  because: string;
}

/** Whether `part` is at least the share of `whole`; exactly, because 7 of 100 are 0.07 of them, and less in doubles. */
function isShareOf(share: number, part: number, whole: number): boolean {
  const ratio = exactDecimal(share);
  return ratio !== null && BigInt(part) * ratio.denominator >= ratio.numerator * BigInt(whole);
}

/** One room that fails is an accident, two may be. */
const fewestFailures = 3;

/**
 * Whether a rollout ends because its rooms fail: at least three of them did within the window, and those are at least the
 * share of all that were tried (the failed ones, and those that are up). Null: it goes on.
 *
 * A version that a rollback has brought back is left in peace: two versions that both fail would change places for ever.
 */
export function judgeRollout(facts: RolloutFacts): RolloutRollback | null {
  const { failed, failureShare, failureWindowMs, rollbackVersion, mayRollBack, lastReason } = facts;
  if (!mayRollBack || rollbackVersion === '' || failed < fewestFailures) return null;
  const tried = failed + facts.progress.updated;
  if (!isShareOf(failureShare, failed, tried)) return null;
  const because = `${failed} of ${tried} new rooms failed, or ended unasked, within the last ${failureWindowMs / 1000} s (a share of ${failureShare} ends a rollout), the last one because: ${asClause(lastReason) || 'unknown'}`;
  return { toVersion: rollbackVersion, because };
}
