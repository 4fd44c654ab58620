import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ClusterAccess } from '../../src/adapters/kubernetes/cluster-access';
import { KubernetesApi, type ApiOptions } from '../../src/adapters/kubernetes/kubernetes-api';
import { ServerSilence } from '../../src/adapters/kubernetes/server-silence';
import { eventually } from '../support/eventually';
import { RecordedLog } from '../support/recorded-log';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

describe('KubernetesApi', () => {
  const pods = '/api/v1/pods';
  const say = (response: ServerResponse, status = 200, headers: Record<string, string> = {}): void => {
    response.writeHead(status, headers).end(JSON.stringify({ items: [], metadata: { resourceVersion: '1' } }));
  };
  /** What was asked, in order, and when; `cut` as long as it was not answered. */
  let asked: { method: string; path: string; atMs: number; cut: boolean }[];
  let reply: Answer;
  let api: KubernetesApi;

  const server = createServer((request, response) => {
    request.resume();
    const entry = { method: request.method ?? '', path: request.url ?? '', atMs: performance.now(), cut: true };
    asked.push(entry);
    response.once('finish', () => (entry.cut = false));
    reply(request, response);
  });
  beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  beforeEach(() => {
    asked = [];
    reply = (_, response) => say(response);
  });
  afterEach(() => {
    api.close();
    jest.restoreAllMocks();
  });

  async function open(
    rate: { qps: number; burst: number },
    options: Partial<ApiOptions> = {},
    silence?: ServerSilence,
  ): Promise<void> {
    const masterUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const all = { callDeadlineMs: 2_000, attemptTimeoutMs: 500, watchSilenceMs: 60_000, pageSize: 500, ...options };
    api = new KubernetesApi(await ClusterAccess.open({ masterUrl }), rate, all, silence);
  }

  const create = () => api.call({ method: 'POST', path: pods, body: {} });

  it('makes many calls at once one after the other: none fails, and none is sent in vain', async () => {
    await open({ qps: 100, burst: 10 }, { attemptTimeoutMs: 2_000 });
    // Four seconds of turns: twice the deadline.
    const outcomes = await Promise.allSettled(Array.from({ length: 400 }, create));
    expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([]);
    expect(asked).toHaveLength(400);
    expect(asked.filter(({ cut }) => cut)).toEqual([]);
  });

  it('gives an attempt all its time once its turn came', async () => {
    await open({ qps: 2, burst: 1 }, { attemptTimeoutMs: 400, callDeadlineMs: 60_000 });
    reply = (_, response) => setTimeout(() => say(response), 200);
    await expect(Promise.all([create(), create(), create()])).resolves.toHaveLength(3);
    expect(asked).toHaveLength(3);
  });

  it('lets lists, watches and urgent calls pass the ordinary ones that wait', async () => {
    await open({ qps: 50, burst: 4 });
    const creating = Promise.all(Array.from({ length: 150 }, create));
    await eventually(() => expect(asked.length).toBeGreaterThan(0));
    const stop = new AbortController();
    let isOpen = false;
    const handlers = { onOpen: () => (isOpen = true), onEvent: () => undefined };
    const watching = api.watch(pods, {}, '1', stop.signal, handlers);
    await Promise.all([api.list(pods), api.urgent.call({ method: 'PATCH', path: pods, body: {} })]);
    await eventually(() => expect(isOpen).toBe(true));
    stop.abort();
    await watching;
    expect(asked.filter(({ method }) => method === 'POST').length).toBeLessThan(75);
    await creating;
  });

  it('ends what waits, too, when it is closed', async () => {
    await open({ qps: 1, burst: 1 });
    const outcomes = Promise.allSettled(Array.from({ length: 20 }, create));
    await eventually(() => expect(asked.length).toBeGreaterThan(0));
    api.close();
    const failed = (await outcomes).filter(({ status }) => status === 'rejected');
    expect(failed.length).toBeGreaterThanOrEqual(18);
  });

  it('fails soon what waits for a server that serves nobody, and sends none of it', async () => {
    await open({ qps: 100, burst: 100 }, { callDeadlineMs: 600, attemptTimeoutMs: 200 });
    reply = () => undefined;
    const outcomes = await Promise.allSettled(Array.from({ length: 300 }, create));
    const reasons = outcomes.map((outcome) => (outcome.status === 'rejected' ? (outcome.reason as Error).message : ''));
    expect(reasons).not.toContain('');
    expect(reasons).toContain('the API server does not answer those that wait longer');
    expect(asked.length).toBeLessThan(150);
  });

  it('says that the server does not answer as soon as one attempt waited in vain, and when it answers again', async () => {
    const log = new RecordedLog();
    await open({ qps: 100, burst: 100 }, { callDeadlineMs: 30_000, attemptTimeoutMs: 100 }, new ServerSilence(log));
    const waiting: ServerResponse[] = [];
    reply = (_, response) => void waiting.push(response);
    const created = create();
    await eventually(() => expect(log.lines).not.toEqual([]));
    // Further attempts wait in vain as well.
    const before = waiting.length;
    await eventually(() => expect(waiting.length).toBeGreaterThan(before + 2));
    expect(log.lines).toEqual([
      {
        level: 'warn',
        message: 'the API server of Kubernetes does not answer',
        fields: { err: 'the API server did not answer in time', silent_ms: 0 },
      },
    ]);
    reply = (_, response) => say(response);
    await created;
    expect(log.lines.slice(1)).toMatchObject([
      {
        level: 'info',
        message: 'the API server of Kubernetes answers again',
        fields: { silent_ms: expect.any(Number) },
      },
    ]);
  });

  it('says nothing of a connection that broke once', async () => {
    const log = new RecordedLog();
    await open({ qps: 100, burst: 100 }, {}, new ServerSilence(log));
    let breaks = 2;
    reply = (request, response) => (breaks-- > 0 ? request.socket.destroy() : say(response));
    await create();
    expect(asked).toHaveLength(3);
    expect(log.lines).toEqual([]);
  });

  it('asks again for what several servers counted at once, and not for a change that crossed another', async () => {
    await open({ qps: 100, burst: 100 });
    let conflicts = 0;
    reply = (_, response) => {
      if (conflicts-- <= 0) return say(response);
      const message = 'Operation cannot be fulfilled on resourcequotas "q": the object has been modified';
      const status = { kind: 'Status', status: 'Failure', code: 409, reason: 'Conflict', message };
      response.writeHead(409).end(JSON.stringify(status));
    };
    conflicts = 2;
    await create();
    expect(asked).toHaveLength(3);
    conflicts = 1;
    await expect(api.call({ method: 'PATCH', path: pods, body: {} })).rejects.toMatchObject({
      facts: { reason: 'Conflict' },
    });
    expect(asked).toHaveLength(4);
  });

  it('leaves a server alone that asked one of its calls for it', async () => {
    await open({ qps: 100, burst: 100 }, { callDeadlineMs: 30_000 });
    let refusals = 1;
    reply = (_, response) => (refusals-- > 0 ? say(response, 429, { 'retry-after': '1' }) : say(response));
    await expect(api.call({ method: 'POST', path: pods, body: {} }, { attempts: 1 })).rejects.toThrow('429');
    await Promise.all([create(), api.list(pods)]);
    const [refused, ...others] = asked.map(({ atMs }) => atMs);
    expect(Math.min(...others) - (refused ?? 0)).toBeGreaterThanOrEqual(995);
  });

  it('makes no call of its own accord that others would wait for', async () => {
    await open({ qps: 0.1, burst: 2 });
    const note = () => api.callIfIdle({ method: 'POST', path: '/events', body: {} });
    expect(await note()).toBe(true);
    await create();
    expect(await note()).toBe(false);
    expect(asked.map(({ path }) => path)).toEqual(['/events', pods]);
  });

  it('says that an open watch was silent, and that it needs a list', async () => {
    await open({ qps: 100, burst: 100 }, { watchSilenceMs: 50 });
    reply = (_, response) => response.writeHead(200).flushHeaders();
    const handlers = { onOpen: () => undefined, onEvent: () => undefined };
    await expect(api.watch(pods, {}, '1', new AbortController().signal, handlers)).rejects.toMatchObject({
      needsList: true,
    });
    api.close();
    reply = () => undefined;
    await open({ qps: 100, burst: 100 }, { attemptTimeoutMs: 50 });
    await expect(api.watch(pods, {}, '1', new AbortController().signal, handlers)).rejects.toMatchObject({
      needsList: false,
    });
  });

  it('leaves nothing on signals that live as long as the process', async () => {
    await open({ qps: 1_000, burst: 1_000 });
    const any = jest.spyOn(AbortSignal, 'any');
    const added = jest.spyOn(AbortSignal.prototype, 'addEventListener');
    const removed = jest.spyOn(AbortSignal.prototype, 'removeEventListener');
    const long = new AbortController();
    reply = (_, response) => say(response, 200);
    await create();
    await api.watch(pods, {}, '1', long.signal, { onOpen: () => undefined, onEvent: () => undefined });
    expect(any).not.toHaveBeenCalled();
    const onLong = (spy: typeof added | typeof removed) => spy.mock.contexts.filter((on) => on === long.signal).length;
    expect(onLong(added)).toBeGreaterThan(0);
    expect(onLong(removed)).toBe(onLong(added));
  });
});
