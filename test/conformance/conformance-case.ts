/**
 * The management API's promises as data: what is called and what is answered, in the words of the wire. They are replayed
 * over REST and over gRPC, and written out as `docs/conformance.md`.
 *
 * Texts may hold placeholders, which each replay fills for itself: `{scheduler}`, `{other}`, `{stuck}`, `{taken}` and
 * `{game}` are names of its own (`pretend-names.ts`); what a step keeps of its answer is there for the steps after it. A regular expression stands for the texts that
 * it matches.
 */
export interface ConformanceCase {
  /** What the API does, as a sentence. */
  says: string;
  /** Where Maestro answers otherwise than v10 on purpose: how v10 does, and why not so. */
  differs?: string;
  /** Why it means nothing over gRPC. Without it the case is replayed over both. */
  restOnly?: string;
  steps: readonly Step[];
}

/** Cases of one place of the specification. */
export interface ConformanceGroup {
  /** Of `management.md`. */
  section: string;
  title: string;
  cases: readonly ConformanceCase[];
}

export type Json = null | boolean | number | string | Json[] | JsonMap;
export type JsonMap = { [key: string]: Json };

/** What an answer must hold; keys that are not named may be there. Lists must be of the same length. */
export type Expected = null | boolean | number | string | RegExp | readonly Expected[] | ExpectedMap;
export type ExpectedMap = { readonly [key: string]: Expected };

/** gRPC's names of its codes. */
export type CodeName =
  'INVALID_ARGUMENT' | 'NOT_FOUND' | 'ALREADY_EXISTS' | 'FAILED_PRECONDITION' | 'ABORTED' | 'UNIMPLEMENTED';

/** Code, number and HTTP status belong together (`management.md` 1.3). */
export const codes: Readonly<Record<CodeName, { grpc: number; http: number }>> = {
  INVALID_ARGUMENT: { grpc: 3, http: 400 },
  NOT_FOUND: { grpc: 5, http: 404 },
  ALREADY_EXISTS: { grpc: 6, http: 409 },
  FAILED_PRECONDITION: { grpc: 9, http: 400 },
  ABORTED: { grpc: 10, http: 409 },
  UNIMPLEMENTED: { grpc: 12, http: 501 },
};

/** What comes back. One of the first three. */
export interface Answer {
  /** Success, with at least this. */
  answers?: ExpectedMap;
  /** Success, with this and nothing else. */
  answersExactly?: ExpectedMap;
  refuses?: { code: CodeName; message: string | RegExp };
}

interface StepOptions {
  /** Not what the case is about, but what must be so before, in words for the documentation; empty: goes without saying. */
  given?: string;
  /** From a name to where its value is in the answer, with dots: `{ operation: 'operationId' }`. */
  keep?: Readonly<Record<string, string>>;
  /** Repeated until it answers so: something happens in its own time. */
  eventually?: true;
}

/** An rpc, over whichever wire. */
export interface CallStep extends Answer, StepOptions {
  call: Rpc;
  message: JsonMap;
}

/** A request as it stands, for what only HTTP can say. */
export interface RequestStep extends Answer, StepOptions {
  /** Verb and path. */
  request: string;
  headers?: Readonly<Record<string, string>>;
  body?: string;
  /** For a body that is not looked at: HEAD has none. */
  status?: number;
}

export type Step = CallStep | RequestStep;

/** Where an rpc is over REST (`management.md` 1.4): fields in braces come from the path, others from the body, or the query. */
export const routes = {
  ListSchedulers: { verb: 'GET', path: '/schedulers' },
  GetSchedulersInfo: { verb: 'GET', path: '/schedulers/info' },
  GetScheduler: { verb: 'GET', path: '/schedulers/{schedulerName}' },
  GetSchedulerVersions: { verb: 'GET', path: '/schedulers/{schedulerName}/versions' },
  CreateScheduler: { verb: 'POST', path: '/schedulers' },
  NewSchedulerVersion: { verb: 'POST', path: '/schedulers/{name}' },
  PatchScheduler: { verb: 'PATCH', path: '/schedulers/{name}' },
  SwitchActiveVersion: { verb: 'PUT', path: '/schedulers/{schedulerName}' },
  DeleteScheduler: { verb: 'DELETE', path: '/schedulers/{schedulerName}' },
  ListOperations: { verb: 'GET', path: '/schedulers/{schedulerName}/operations' },
  GetOperation: { verb: 'GET', path: '/schedulers/{schedulerName}/operations/{operationId}' },
  CancelOperation: { verb: 'POST', path: '/schedulers/{schedulerName}/operations/{operationId}/cancel' },
} as const satisfies Record<string, { verb: string; path: string }>;

export type Rpc = keyof typeof routes;

/** Texts that differ each time; the documentation names them. */
export const patterns = {
  /** RFC 3339 in UTC, with 0, 3, 6 or 9 digits of a second. */
  time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?Z$/,
  timeInSeconds: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
  /** Random, so of version 4. */
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  text: /^./s,
} as const;

// Steps ------------------------------------------------------------------------------------------------------------------

export function answers(call: Rpc, message: JsonMap, expected: ExpectedMap, options: StepOptions = {}): CallStep {
  return { call, message, answers: expected, ...options };
}

export function answersExactly(call: Rpc, message: JsonMap, expected: ExpectedMap): CallStep {
  return { call, message, answersExactly: expected };
}

export function refuses(call: Rpc, message: JsonMap, code: CodeName, text: string | RegExp): CallStep {
  return { call, message, refuses: { code, message: text } };
}
