import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import type { ServiceError } from '@grpc/grpc-js';
import type { UnaryMethod } from '../../src/api/http/call-rpc';
import { encodeMessage } from '../../src/api/http/protojson';
import { OperationsService } from '../../src/proto/gen/api/v1/operations_pb';
import { SchedulersService } from '../../src/proto/gen/api/v1/schedulers_pb';
import { eventually } from '../support/eventually';
import type { GrpcClient } from '../support/grpc-client';
import { stuckNamePrefix, takenNamePrefix } from '../support/pretend-names';
import { sendHttp } from '../support/send-http';
import {
  codes,
  routes,
  type CallStep,
  type ConformanceCase,
  type Expected,
  type Json,
  type JsonMap,
  type RequestStep,
  type Rpc,
  type Step,
} from './conformance-case';

/** What came back, the same whichever wire it came over. */
type Outcome = { answer: JsonMap } | { refusal: { code: number; message: string } };

/** How rpcs are called. */
export interface Wire {
  call(rpc: Rpc, message: JsonMap): Promise<Outcome>;
}

/** Names that no other replay uses; what the steps keep is added. */
export type Names = Map<string, string>;

export function namesOf(replay: string): Names {
  return new Map([
    ['scheduler', `arena-${replay}`],
    ['other', `other-${replay}`],
    ['stuck', `${stuckNamePrefix}${replay}`],
    ['taken', `${takenNamePrefix}${replay}`],
    ['game', `game-${replay}`],
  ]);
}

/** Takes the steps of a case one after the other, and expects of each what it says. */
export async function replayCase(
  { steps }: ConformanceCase,
  { wire, rest, names }: { wire: Wire; rest: RestClient; names: Names },
): Promise<void> {
  for (const [index, step] of steps.entries()) {
    const take = async (): Promise<void> => {
      const outcome = 'call' in step ? await call(wire, step, names) : await request(rest, step, names);
      if (outcome === null) return;
      expectOutcome(outcome, step, names);
      keep(outcome, step, names);
    };
    try {
      await (step.eventually ? eventually(take, { timeoutMs: 15_000, everyMs: 25 }) : take());
    } catch (error) {
      throw inStep(index, step, names, error);
    }
  }
}

function call(wire: Wire, { call: rpc, message }: CallStep, names: Names): Promise<Outcome> {
  return wire.call(rpc, fill(message, names) as JsonMap);
}

async function request(rest: RestClient, step: RequestStep, names: Names): Promise<Outcome | null> {
  const [verb = '', path = ''] = fillText(step.request, names).split(' ');
  const body = step.body === undefined ? undefined : fillText(step.body, names);
  if (step.status === undefined) return rest.request(verb, path, body, step.headers);
  expect((await rest.send(verb, path, body, step.headers)).status).toBe(step.status);
  return null;
}

function expectOutcome(outcome: Outcome, { answers, answersExactly, refuses }: Step, names: Names): void {
  if (answersExactly) expect(outcome).toEqual({ answer: expectation(answersExactly, names) });
  else if (answers) expect(outcome).toMatchObject({ answer: expectation(answers, names) as Record<string, unknown> });
  else if (refuses) {
    const { code, message } = refuses;
    expect(outcome).toEqual({ refusal: { code: codes[code].grpc, message: expectation(message, names) } });
  } else throw new Error('the step expects nothing');
}

function keep(outcome: Outcome, step: Step, names: Names): void {
  for (const [name, path] of Object.entries(step.keep ?? {})) {
    const value = path
      .split('.')
      .reduce<unknown>(
        (place, key) => (place as Record<string, unknown>)[key],
        (outcome as { answer: JsonMap }).answer,
      );
    if (typeof value !== 'string') throw new Error(`there is no text at ${path} to keep`);
    names.set(name, value);
  }
}

function inStep(index: number, step: Step, names: Names, error: unknown): Error {
  const what =
    'call' in step ? `${step.call} ${JSON.stringify(fill(step.message, names))}` : fillText(step.request, names);
  const message = error instanceof Error ? error.message : String(error);
  return Object.assign(new Error(`step ${index + 1}, ${what}\n${message}`), { stack: '' });
}

// Placeholders -----------------------------------------------------------------------------------------------------------

const placeholder = /\{([a-z]+)\}/g;

function fillText(text: string, names: Names): string {
  return text.replace(placeholder, (_whole, name: string) => {
    const value = names.get(name);
    if (value === undefined) throw new Error(`nothing is called {${name}} here`);
    return value;
  });
}

function fill(value: Json, names: Names): Json {
  if (typeof value === 'string') return fillText(value, names);
  if (Array.isArray(value)) return value.map((item) => fill(item, names));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, names)]));
}

/** For Jest: placeholders filled, and a matcher for each regular expression. */
function expectation(expected: Expected, names: Names): unknown {
  if (typeof expected === 'string') return fillText(expected, names);
  if (expected instanceof RegExp) {
    const source = expected.source.replace(/\\\{([a-z]+)\\\}/g, (_whole, name: string) => fillText(`{${name}}`, names));
    return expect.stringMatching(new RegExp(source, expected.flags)) as unknown;
  }
  if (Array.isArray(expected)) return (expected as Expected[]).map((item) => expectation(item, names));
  if (typeof expected !== 'object' || expected === null) return expected;
  return Object.fromEntries(Object.entries(expected).map(([key, item]) => [key, expectation(item, names)]));
}

// Wires ------------------------------------------------------------------------------------------------------------------

/** REST, as v10's clients speak it; each answer is held to what every answer promises (`management.md` 1.2, 1.3). */
export class RestClient implements Wire {
  constructor(private readonly url: string) {}

  call(rpc: Rpc, message: JsonMap): Promise<Outcome> {
    const { verb, path } = routes[rpc];
    const fields = { ...message };
    const filled = path.replace(/\{(\w+)\}/g, (_whole, name: string) => {
      const value = fields[name];
      delete fields[name];
      return encodeURIComponent(typeof value === 'string' ? value : '');
    });
    const hasBody = verb === 'PATCH' || verb === 'PUT' || (verb === 'POST' && rpc !== 'CancelOperation');
    if (hasBody) return this.request(verb, filled, JSON.stringify(fields));
    const query = new URLSearchParams(fields as Record<string, string>).toString();
    return this.request(verb, query === '' ? filled : `${filled}?${query}`);
  }

  async request(
    verb: string,
    path: string,
    body?: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Outcome> {
    const { status, type, text } = await this.send(verb, path, body, headers);
    expect(type).toBe('application/json');
    const json = JSON.parse(text) as JsonMap;
    if (status === 200) return { answer: json };
    expect(json).toEqual({ code: expect.any(Number), message: expect.any(String), details: [] });
    const { code, message } = json as { code: number; message: string };
    expect([status, code]).toEqual([httpStatusOf(code), code]);
    return { refusal: { code, message } };
  }

  /** Not `fetch`: it sends no body with GET, and a Content-Type of its own. */
  send(
    verb: string,
    path: string,
    body?: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ status: number; type: string; text: string }> {
    return sendHttp(this.url + path, verb, body, headers);
  }
}

function httpStatusOf(code: number): number | undefined {
  return Object.values(codes).find(({ grpc }) => grpc === code)?.http;
}

const methods: Record<Rpc, UnaryMethod> = {
  ListSchedulers: SchedulersService.method.listSchedulers,
  GetSchedulersInfo: SchedulersService.method.getSchedulersInfo,
  GetScheduler: SchedulersService.method.getScheduler,
  GetSchedulerVersions: SchedulersService.method.getSchedulerVersions,
  CreateScheduler: SchedulersService.method.createScheduler,
  NewSchedulerVersion: SchedulersService.method.newSchedulerVersion,
  PatchScheduler: SchedulersService.method.patchScheduler,
  SwitchActiveVersion: SchedulersService.method.switchActiveVersion,
  DeleteScheduler: SchedulersService.method.deleteScheduler,
  ListOperations: OperationsService.method.listOperations,
  GetOperation: OperationsService.method.getOperation,
  CancelOperation: OperationsService.method.cancelOperation,
};

export class GrpcWire implements Wire {
  constructor(private readonly client: GrpcClient) {}

  async call(rpc: Rpc, message: JsonMap): Promise<Outcome> {
    const method = methods[rpc];
    try {
      const answer = await this.client.call(method, fromJson(method.input, message as JsonValue));
      return { answer: encodeMessage(method.output, answer) };
    } catch (error) {
      const { code, details } = error as ServiceError;
      if (code === undefined) throw error;
      return { refusal: { code, message: details } };
    }
  }
}
