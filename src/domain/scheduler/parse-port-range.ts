import type { PortRange } from './scheduler';

/** Reads `1000-2000`, both bounds included (v10's notation in its configuration); null when it is no range. */
export function parsePortRange(text: string): PortRange | null {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text);
  if (!match) return null;
  const [start, end] = [Number(match[1]), Number(match[2])];
  return start >= 1 && start <= end && end <= 65_535 ? { start, end } : null;
}
