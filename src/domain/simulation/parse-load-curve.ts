import { DomainError } from '../errors';
import type { LoadPoint } from './load-curve';

const headerWords = ['time', 'matches'];
const seconds = /^-?\d+(\.\d+)?$/;
const instant = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/;

/**
 * Reads a load curve from CSV: a line for each point, `time,matches`, in the order of time. A header may come first; further
 * columns, empty lines and lines that begin with `#` are skipped. `time` is ISO 8601 with a zone (`2026-06-01T18:00:00Z`), or
 * seconds since the epoch, or since whenever the curve begins; `matches` is a number of at least 0.
 *
 * @throws DomainError `backtest.load_invalid` that names the line and the field of the first one that is not so.
 */
export function parseLoadCurve(text: string): LoadPoint[] {
  const points: LoadPoint[] = [];
  text.split(/\r\n|\n|\r/).forEach((line, index) => {
    const content = (index === 0 ? line.replace(/^\uFEFF/, '') : line).trim();
    if (content === '' || content.startsWith('#')) return;
    const fields = content.split(',').map((field) => field.trim().replace(/^"(.*)"$/, '$1'));
    if (points.length === 0 && headerWords.every((word, place) => fields[place]?.toLowerCase() === word)) return;
    const atMs = timeOf(index + 1, fields[0] ?? '');
    const matches = matchesOf(index + 1, fields[1]);
    const previous = points.at(-1);
    if (previous !== undefined && atMs <= previous.atMs) {
      throw invalid(index + 1, 'time', `${fields[0]} is not later than the time of the line before`);
    }
    points.push({ atMs, matches });
  });
  if (points.length < 2) {
    throw new DomainError(
      'invalid_argument',
      'backtest.load_invalid',
      `there must be at least two lines of time,matches, and there ${points.length === 1 ? 'is one' : 'are none'}`,
    );
  }
  return points;
}

/** Writes a curve as `parseLoadCurve` reads it. */
export function printLoadCurve(points: readonly LoadPoint[]): string {
  const lines = points.map(({ atMs, matches }) => `${new Date(atMs).toISOString().replace('.000Z', 'Z')},${matches}\n`);
  return `${headerWords.join(',')}\n${lines.join('')}`;
}

function timeOf(line: number, text: string): number {
  if (seconds.test(text)) return Number(text) * 1000;
  const atMs = instant.test(text) ? Date.parse(text.replace(' ', 'T')) : NaN;
  if (Number.isNaN(atMs)) {
    throw invalid(line, 'time', `"${text}" is neither ISO 8601 with a zone (2026-06-01T18:00:00Z) nor seconds`);
  }
  return atMs;
}

function matchesOf(line: number, text: string | undefined): number {
  if (text === undefined || text === '') throw invalid(line, 'matches', 'it is missing');
  const matches = Number(text);
  if (!Number.isFinite(matches) || matches < 0) {
    throw invalid(line, 'matches', `"${text}" is not a number of at least 0`);
  }
  return matches;
}

function invalid(line: number, field: string, reason: string): DomainError {
  return new DomainError('invalid_argument', 'backtest.load_invalid', `line ${line}, ${field}: ${reason}`, {
    details: { line, field },
  });
}
