import { oneLine } from '../one-line';
import type { SchedulerOutcome } from './scheduler-import';

/** The lines of one scheduler. A dry run and the import after it say the same, so that the two can be compared. */
export function outcomeLines({ name, outcome, detail, remarks }: SchedulerOutcome): string {
  const lines = [
    `${outcome.padEnd(9)}  ${name}${detail && `: ${detail}`}`,
    ...remarks.map((remark) => `  - ${remark}`),
  ];
  return lines.map((line) => `${oneLine(line)}\n`).join('');
}

/** What was done to how many, and whether that was all of it. */
export function summaryLine(outcomes: readonly SchedulerOutcome['outcome'][], isDryRun: boolean): string {
  const words = ['imported', 'updated', 'unchanged', 'conflict', 'skipped'] as const;
  const counts = words.map((word) => `${outcomes.filter((outcome) => outcome === word).length} ${word}`);
  return `${counts.join(', ')}${isDryRun ? ' (dry run: nothing was written)' : ''}\n`;
}

/** Whether everything that v10 has is here now, or would be. */
export function isComplete(outcomes: readonly SchedulerOutcome['outcome'][]): boolean {
  return outcomes.every((outcome) => outcome !== 'conflict' && outcome !== 'skipped');
}
