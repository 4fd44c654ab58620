/** The first of these times; null where there is none. */
export function earliest(timesMs: readonly (number | null)[]): number | null {
  return timesMs.reduce<number | null>(
    (least, timeMs) => (least === null || (timeMs !== null && timeMs < least) ? timeMs : least),
    null,
  );
}
