const wholeNumber = /^[+-]?\d+$/;

/**
 * How many rooms more than `base` may stand while older ones are replaced: `"5"`, or `"25%"` of them, rounded up; at least one,
 * also where the text says nothing that can be used, because a rollout without surge would never end.
 * In whole numbers: v10 computes in doubles and gives 8 for 7 % of 100 (`rooms.md` 10.2).
 */
export function surgeRooms(maxSurge: string, base: number): number {
  const isShare = maxSurge.endsWith('%');
  const text = isShare ? maxSurge.slice(0, -1) : maxSurge;
  if (!wholeNumber.test(text)) return 1;
  const wanted = isShare ? (BigInt(text) * BigInt(Math.max(0, base)) + 99n) / 100n : BigInt(text);
  if (wanted < 1n) return 1;
  return wanted > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(wanted);
}
