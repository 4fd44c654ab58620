/** One thing that is wrong with a definition, in both of v10's wordings. */
export interface SchedulerProblem {
  /** What POST answers, one line of it: `Scheduler.MaxSurge: MaxSurge must be a number …`. */
  message: string;
  /** What PATCH answers: `Key: 'Scheduler.MaxSurge' Error:Field validation for 'MaxSurge' failed on the 'max_surge' tag`. */
  untranslated: string;
  /** Whether no cluster takes a room of such a definition, whatever its state: then it never has any. */
  neverRuns: boolean;
}

/** A rule that failed: the rest of the sentence that begins with the field, and the name of v10's rule. */
export interface Failure {
  text: string;
  tag: string;
  neverRuns?: boolean;
}
export type Rule = Failure | false;

/** Problems of one definition, each with a Go path to the field that it is about. */
export class Problems {
  readonly found: SchedulerProblem[] = [];

  /** Notes the first of the rules that fails; `path` ends with the field. */
  check(path: string, ...rules: Rule[]): void {
    const failure = rules.find((rule) => rule !== false);
    if (failure) this.add(path, fieldOf(path), failure);
  }

  /** Notes a failure whose sentence begins with another word than the field. */
  add(path: string, subject: string, { text, tag, neverRuns = false }: Failure): void {
    // POST validates autoscaling by itself, PATCH only as a part of the scheduler.
    const key = path.startsWith('Scheduler.') ? path : `Scheduler.${path}`;
    this.found.push({
      message: `${path}: ${subject} ${text}`,
      untranslated: `Key: '${key}' Error:Field validation for '${fieldOf(path)}' failed on the '${tag}' tag`,
      neverRuns,
    });
  }
}

/** How much of a key is told: enough to find it, and no more than a line. */
const shownKeyLength = 80;

/** The entry of a map, as a part of a path: `Labels["team"]`. Quoted, because a key may hold anything. */
export function entryPath(map: string, key: string): string {
  return `${map}[${JSON.stringify(key.length > shownKeyLength ? `${key.slice(0, shownKeyLength)}…` : key)}]`;
}

function fieldOf(path: string): string {
  const entry = path.indexOf('["');
  return path.slice(path.lastIndexOf('.', entry === -1 ? undefined : entry) + 1);
}

// Tags: go-playground/validator's where it has the rule, otherwise names in its style (v10's own are known for `max_surge` only).
export const required = (isMissing: boolean): Rule => isMissing && { text: 'is a required field', tag: 'required' };
export const oneOf = (value: string, options: readonly string[], tag: string): Rule =>
  !options.includes(value) && { text: `must be one of the following options: ${options.join(', ')}`, tag };
export const atLeast = (value: number, min: number): Rule =>
  !(value >= min) && { text: `must be ${min} or greater`, tag: 'min' };
export const atMost = (value: number, max: number): Rule =>
  !(value <= max) && { text: `must be ${max} or less`, tag: 'max' };
export const greaterThan = (value: number, bound: number): Rule =>
  !(value > bound) && { text: `must be greater than ${bound}`, tag: 'gt' };
export const lessThan = (value: number, bound: number): Rule =>
  !(value < bound) && { text: `must be less than ${bound}`, tag: 'lt' };

/** Refuses the second and further uses of a name, where v10 lets the runtime or the last entry decide. */
export const unique = (names: readonly string[], index: number, list: string): Rule =>
  names.indexOf(names[index] ?? '') < index && { text: `must be unique within ${list}`, tag: 'unique' };

/** The rule, known to keep every room of the definition from being made. */
export const neverRuns = (rule: Rule): Rule => rule && { ...rule, neverRuns: true };
