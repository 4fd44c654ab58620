import { oneLine } from '../one-line';
import type { AdoptionOutcome } from './room-adoption';

/** The lines of one scheduler. A dry run and the adoption after it say the same, so that the two can be compared. */
export function outcomeLines({ name, outcome, detail, remarks }: AdoptionOutcome): string {
  const lines = [
    `${outcome.padEnd(9)}  ${name}${detail && `: ${detail}`}`,
    ...remarks.map((remark) => `  - ${remark}`),
  ];
  return lines.map((line) => `${oneLine(line)}\n`).join('');
}

/** What was done to how many. */
export function summaryLine(outcomes: readonly AdoptionOutcome['outcome'][], isDryRun: boolean): string {
  const words = ['adopted', 'unchanged', 'refused'] as const;
  const counts = words.map((word) => `${outcomes.filter((outcome) => outcome === word).length} ${word}`);
  return `${counts.join(', ')}${isDryRun ? ' (dry run: nothing was written)' : ''}\n`;
}

/** Whether every room that was meant is ours now, or would be. */
export function isComplete(outcomes: readonly AdoptionOutcome['outcome'][]): boolean {
  return !outcomes.includes('refused');
}
