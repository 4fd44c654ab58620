import { printDuration } from '../../domain/print-duration';
import { timelinePoints, type TimelinePoint } from '../../domain/simulation/backtest';
import { oneLine } from '../one-line';
import type { BacktestOutcome } from './backtests.service';

/** Pixels. */
const width = 1000;
const left = 56;
const right = 36;
const plotWidth = width - left - right;
const titleHeight = 30;
const panelHeight = 190;
const laneGap = 18;
const laneHeight = 30;
const axisHeight = 34;
const legendHeight = 34;
const blockHeight = titleHeight + panelHeight + laneGap + laneHeight + axisHeight;

/** Of a middle lightness each, so that they can be told from white and from black; apart for the colour-blind, too. */
const colours = { text: '#7d8590', grid: '#7d859055', rooms: '#3f8ee8', wanted: '#e08b1a', refused: '#e5484d' };

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

/**
 * A panel for each policy, all of the same scales: rooms, and matches wanted, over time; below them the matches that found no
 * room. An SVG document without background, script or font of its own. Written by hand: it is lines and texts, and charting
 * libraries that draw without a browser bring one, or hundreds of modules, along.
 */
export function backtestPlot(outcomes: readonly BacktestOutcome[]): string {
  const height = legendHeight + outcomes.length * blockHeight;
  const timelines = outcomes.map(({ timeline }) => timeline);
  const points = timelines.flat();
  const highest = ceiling(greatest(points.flatMap(({ rooms, wanted }) => [rooms, wanted])));
  const mostRefused = greatest(points.map(({ refused }) => refused));
  const panels = outcomes.map((outcome, place) =>
    panel(outcome, { top: legendHeight + place * blockHeight, highest, mostRefused }),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="${colours.text}">`,
    '<title>Backtest of autoscaling policies: rooms, matches wanted, and matches that found no room</title>',
    legend(outcomes[0]?.spanMs ?? 0),
    ...panels,
    '</svg>',
    '',
  ].join('\n');
}

function legend(spanMs: number): string {
  const entries = [
    { colour: colours.rooms, text: 'rooms' },
    { colour: colours.wanted, text: 'matches wanted' },
    { colour: colours.refused, text: `matches that found no room, each bar ${printDuration(spanMs / timelinePoints)}` },
  ];
  return entries
    .map(({ colour, text }, place) => {
      const x = left + place * 140;
      return `<rect x="${x}" y="13" width="14" height="4" fill="${colour}"/><text x="${x + 20}" y="19">${text}</text>`;
    })
    .join('\n');
}

interface Scales {
  /** Where the panel begins. */
  top: number;
  /** At the top of the y axis. */
  highest: number;
  /** At the top of the lane below it. */
  mostRefused: number;
}

function panel({ name, served, refused, timeline, spanMs }: BacktestOutcome, scales: Scales): string {
  const { top, highest, mostRefused } = scales;
  const beginsAtMs = timeline[0]?.atMs ?? 0;
  const base = top + titleHeight + panelHeight;
  const lane = base + laneGap + laneHeight;
  const xOf = (atMs: number): number => left + ((atMs - beginsAtMs) / Math.max(1, spanMs)) * plotWidth;
  const yOf = (value: number): number => base - (value / highest) * panelHeight;
  const line = (of: (point: TimelinePoint) => number, colour: string): string =>
    `<polyline fill="none" stroke="${colour}" stroke-width="1.5" stroke-linejoin="round" points="${timeline
      .map((point) => `${pixel(xOf(point.atMs))},${pixel(yOf(of(point)))}`)
      .join(' ')}"/>`;
  const bars = timeline
    .filter((point) => point.refused > 0)
    .map((point) => {
      // What happened at all is to be seen.
      const barHeight = Math.max(1.5, (point.refused / mostRefused) * laneHeight);
      return `<rect x="${pixel(xOf(point.atMs))}" y="${pixel(lane - barHeight)}" width="${pixel(Math.max(1.5, plotWidth / timeline.length))}" height="${pixel(barHeight)}" fill="${colours.refused}"/>`;
    });
  const yTicks = [0, 1, 2, 3, 4].map((place) => {
    const value = (highest * place) / 4;
    const y = pixel(yOf(value));
    return `<line x1="${left}" x2="${width - right}" y1="${y}" y2="${y}" stroke="${colours.grid}"/><text x="${left - 8}" y="${pixel(yOf(value) + 4)}" text-anchor="end">${value.toLocaleString('en-US')}</text>`;
  });
  const xTicks = ticks(beginsAtMs, spanMs).map(({ atMs, text }) => {
    const x = pixel(xOf(atMs));
    return `<line x1="${x}" x2="${x}" y1="${top + titleHeight}" y2="${lane}" stroke="${colours.grid}"/><text x="${x}" y="${lane + 18}" text-anchor="middle">${text}</text>`;
  });
  const share = `${(Math.floor(served * 10_000) / 100).toFixed(2)} % served, ${refused.toLocaleString('en-US')} found no room`;
  return [
    `<text x="${left}" y="${top + 20}" font-size="14" font-weight="600">${escape(name)}</text>`,
    `<text x="${width - right}" y="${top + 20}" text-anchor="end">${share}</text>`,
    ...yTicks,
    ...xTicks,
    `<line x1="${left}" x2="${width - right}" y1="${lane}" y2="${lane}" stroke="${colours.grid}"/>`,
    `<text x="${left - 8}" y="${lane - laneHeight + 10}" text-anchor="end">${mostRefused.toLocaleString('en-US')}</text>`,
    line(({ wanted }) => wanted, colours.wanted),
    line(({ rooms }) => rooms, colours.rooms),
    ...bars,
  ].join('\n');
}

/** Times on the x axis, in UTC: days, or hours where there are few days; at most a dozen or so. */
function ticks(beginsAtMs: number, spanMs: number): { atMs: number; text: string }[] {
  const steps = [hourMs / 4, hourMs, 3 * hourMs, 6 * hourMs, dayMs, 7 * dayMs, 28 * dayMs];
  const stepMs = steps.find((each) => spanMs / each <= 12) ?? Math.ceil(spanMs / (12 * dayMs)) * dayMs;
  const found: { atMs: number; text: string }[] = [];
  for (let atMs = Math.ceil(beginsAtMs / stepMs) * stepMs; atMs <= beginsAtMs + spanMs; atMs += stepMs) {
    const time = new Date(atMs);
    const isDay = atMs % dayMs === 0;
    const clock = time.toISOString().slice(11, 16);
    found.push({ atMs, text: isDay ? `${days[time.getUTCDay()]} ${time.toISOString().slice(5, 10)}` : clock });
  }
  return found;
}

/** A round number that is at least this one, and divides by four well. */
function ceiling(value: number): number {
  const size = 10 ** Math.floor(Math.log10(Math.max(4, value)));
  return [1, 2, 4, 6, 8, 10, 20].map((step) => step * size).find((each) => each >= value) ?? value;
}

function greatest(values: readonly number[]): number {
  return values.reduce((most, value) => Math.max(most, value), 0);
}

function pixel(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escape(text: string): string {
  return oneLine(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
