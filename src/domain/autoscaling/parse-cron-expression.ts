/** The days and the times of day that a cron expression names. */
export interface CronExpression {
  /** Minutes since midnight, rising. */
  timesOfDay: readonly number[];
  /**
   * Whether it names every hour. Such an expression follows the clock as it runs: a time that the clock shows twice counts twice,
   * one that it skips does not count.
   */
  everyHour: boolean;
  /** 1 to 12. */
  months: ReadonlySet<number>;
  /** 1 to 31. */
  daysOfMonth: ReadonlySet<number>;
  /** 0 (Sunday) to 6. */
  daysOfWeek: ReadonlySet<number>;
}

interface Field {
  /** With its article. */
  name: string;
  min: number;
  /** The last of its values. */
  last: number;
  /** One more number, that stands for the first value. */
  alias?: number;
  /** Words for its values, the first one for `min`. */
  words?: readonly string[];
}

/** In their order. */
const fields: readonly Field[] = [
  { name: 'a minute', min: 0, last: 59 },
  { name: 'an hour', min: 0, last: 23 },
  { name: 'a day of the month', min: 1, last: 31 },
  {
    name: 'a month',
    min: 1,
    last: 12,
    words: ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'],
  },
  {
    name: 'a day of the week',
    min: 0,
    last: 6,
    alias: 7,
    words: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'],
  },
];

/** More says nothing that fewer characters do not, and would only cost time. */
const longestExpression = 256;
/** Days of each month, with February in a leap year. */
const longestMonths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * Reads five fields: minute, hour, day of the month, month, day of the week. A field is a star, or values and ranges, joined by
 * commas (`0`, `1-5`, `MON-FRI`); stars and ranges may have a step (`0-30/15`). Where both kinds of day are restricted, a day of
 * either kind is meant (POSIX). Macros, seconds, `L`, `W`, `#` and `?` are other dialects, and are refused.
 *
 * The problem is the rest of a sentence that begins with the name of what held the text.
 */
export function parseCronExpression(text: string): CronExpression | { problem: string } {
  if (text.length > longestExpression) return { problem: `must have ${longestExpression} characters or less` };
  const texts = text.split(/\s+/).filter((field) => field !== '');
  if (texts.length !== fields.length) {
    return { problem: `must have five fields, minute to day of the week, and has ${texts.length}` };
  }
  const valuesByField: number[][] = [];
  for (const [index, field] of fields.entries()) {
    const read = readField(texts[index] ?? '', field);
    if ('problem' in read) return read;
    valuesByField.push(read.values);
  }
  const [minutes = [], hours = [], daysOfMonth = [], months = [], daysOfWeek = []] = valuesByField.map(rising);
  const expression: CronExpression = {
    timesOfDay: hours.flatMap((hour) => minutes.map((minute) => hour * 60 + minute)),
    everyHour: hours.length === 24,
    months: new Set(months),
    daysOfMonth: new Set(daysOfMonth),
    daysOfWeek: new Set(daysOfWeek.map((day) => day % 7)),
  };
  return everHasADay(expression) ? expression : { problem: 'must name a day that exists' };
}

/** Whether the expression means the day that begins at this midnight, read as if it were one in UTC. */
export function includesDay(expression: CronExpression, midnightMs: number): boolean {
  const date = new Date(midnightMs);
  if (!expression.months.has(date.getUTCMonth() + 1)) return false;
  const isDayOfMonth = expression.daysOfMonth.has(date.getUTCDate());
  const isDayOfWeek = expression.daysOfWeek.has(date.getUTCDay());
  if (expression.daysOfMonth.size === 31) return isDayOfWeek;
  if (expression.daysOfWeek.size === 7) return isDayOfMonth;
  return isDayOfMonth || isDayOfWeek;
}

function everHasADay({ months, daysOfMonth, daysOfWeek }: CronExpression): boolean {
  if (daysOfWeek.size < 7) return true;
  return [...months].some((month) => [...daysOfMonth].some((day) => day <= (longestMonths[month - 1] ?? 0)));
}

function rising(values: number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

function readField(text: string, field: Field): { values: number[] } | { problem: string } {
  const values: number[] = [];
  for (const part of text.toLowerCase().split(',')) {
    const match = /^(?:\*|([a-z]+|\d+)(?:-([a-z]+|\d+))?)(?:\/(\d+))?$/.exec(part);
    const [, firstText, lastText, stepText] = match ?? [];
    const first = firstText === undefined ? field.min : valueOf(firstText, field);
    const isSingle = firstText !== undefined && lastText === undefined && stepText === undefined;
    const last = isSingle ? first : lastText === undefined ? field.last : valueOf(lastText, field);
    if (!match || first === null || last === null) {
      return { problem: `has ${field.name} that cannot be read: ${part || 'nothing'}` };
    }
    const max = field.alias ?? field.last;
    if (first < field.min || first > max || last > max) {
      return { problem: `has ${field.name} outside of ${field.min} to ${max}: ${part}` };
    }
    if (first > last) return { problem: `has ${field.name} that ends before it begins: ${part}` };
    const step = stepText === undefined ? 1 : Number(stepText);
    if (step < 1) return { problem: `has ${field.name} with a step of 0: ${part}` };
    for (let value = first; value <= last; value += step) values.push(value);
  }
  return { values };
}

function valueOf(text: string, { words, min }: Field): number | null {
  if (/^\d+$/.test(text)) return Number(text);
  const index = words?.indexOf(text) ?? -1;
  return index < 0 ? null : index + min;
}
