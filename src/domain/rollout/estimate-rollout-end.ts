/** How many rooms of replaced versions were there at one moment, those included that leave with a match. */
export interface RolloutSample {
  atMs: number;
  left: number;
}

export interface RolloutPaceFacts {
  /** Oldest first, of this rollout only. */
  samples: readonly RolloutSample[];
  /** As many were there when somebody last looked. */
  left: number;
  nowMs: number;
  isPaused: boolean;
  /** When the drain deadline has ended whatever is left; null where it leaves something, and without a deadline. */
  latestEndMs: number | null;
}

/** With fewer, a single room that went just now would say it all. */
const fewestSamples = 3;

/**
 * When no room of a replaced version will be left, if they go on getting fewer as fast as they did since the oldest sample:
 * `now + left * (now - oldest.at) / (oldest.left - left)`. In that time rooms started, drained and ended their matches, so
 * all of that is in the rate. A rollout that has come to a halt has an end that moves away the longer it stands. Null, unknown:
 * with fewer than three samples, when no fewer are left than in the oldest one, and while it is paused. Never after `latestEndMs`,
 * but for what is late already: that ends now.
 */
export function estimateRolloutEnd({ samples, left, nowMs, isPaused, latestEndMs }: RolloutPaceFacts): number | null {
  // A store's clock that was put back leaves samples of the future.
  const past = samples.filter(({ atMs }) => atMs <= nowMs);
  const [oldest] = past;
  if (isPaused || oldest === undefined || past.length < fewestSamples) return null;
  const [gone, passedMs] = [oldest.left - left, nowMs - oldest.atMs];
  if (gone <= 0 || passedMs === 0) return null;
  const endsAtMs = nowMs + Math.ceil((left * passedMs) / gone);
  return Math.max(nowMs, Math.min(endsAtMs, latestEndMs ?? Infinity));
}
