import { availableParallelism, cpus } from 'node:os';

/** One line of a report. Absolute numbers belong to this machine; the ratio is what another machine may compare. */
export interface Measure {
  what: string;
  value: string;
  /** To the baseline of the same run. */
  ratio?: string;
}

export interface Report {
  measures: Measure[];
  /** What is promised, and whether this run kept it. */
  targets: { promise: string; kept: boolean }[];
}

/** Whether every target was kept. */
export function printReport(name: string, { measures, targets }: Report): boolean {
  console.log(`${name} on ${availableParallelism()} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.version}`);
  const width = Math.max(...measures.map(({ what }) => what.length));
  for (const { what, value, ratio } of measures) {
    console.log(`  ${what.padEnd(width)}  ${value}${ratio === undefined ? '' : `  (${ratio})`}`);
  }
  for (const { promise, kept } of targets) console.log(`  ${kept ? 'kept  ' : 'MISSED'} ${promise}`);
  return targets.every(({ kept }) => kept);
}

/** The value below which `share` of them lie; of the sorted values the nearest rank. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** `p50 1.2 ms, p99 3.4 ms`. */
export function percentilesMs(values: readonly number[]): string {
  return [0.5, 0.99].map((share) => `p${share * 100} ${percentile(values, share).toFixed(1)} ms`).join(', ');
}

export function timesAs(value: number, baseline: number): string {
  return `${(value / baseline).toFixed(1)} x`;
}
