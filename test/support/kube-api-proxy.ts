import { createServer, request as requestHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Socket } from 'node:net';
import type { Access } from '../../src/adapters/kubernetes/cluster-access';

export interface ProxiedRequest {
  method: string;
  /** Without the query. */
  path: string;
  query: URLSearchParams;
  isWatch: boolean;
  /** What the server answered; null until it did. */
  status: number | null;
}

interface Fault {
  matches: (request: ProxiedRequest) => boolean;
  times: number;
  /** Null: the call has its effect, and its answer is lost. */
  answer: { status: number; headers: Record<string, string>; body: object } | null;
  /** The list that the server answers is passed on without what is in it. */
  empties?: boolean;
  /** The call waits for its answer for ever. */
  holds?: boolean;
}

/** Plain HTTP in front of an API server, that knows the credentials, remembers what was asked, and does what networks do. */
export class KubeApiProxy {
  readonly requests: ProxiedRequest[] = [];
  /** The server knows policy only by its older version: what is said of policy/v1 is passed on as of that. */
  translatesPolicy = false;
  /** Connections that were made so far. */
  connections = 0;
  /** Callers must have this token; null: nobody is asked for one. */
  token: string | null = null;
  private faults: Fault[] = [];
  private readonly watches = new Set<ServerResponse>();
  private readonly sockets = new Set<Socket>();
  /** Versions up to this one are forgotten. */
  private compactedAt = 0;
  private cuts = 0;
  private readonly server = createServer((request, response) => void this.serve(request, response));

  private constructor(private readonly access: () => Promise<Access>) {
    this.server.on('connection', (socket: Socket) => {
      this.connections++;
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
  }

  static async start(access: () => Promise<Access>): Promise<KubeApiProxy> {
    const proxy = new KubeApiProxy(access);
    await new Promise<void>((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as { port: number }).port}`;
  }

  /** The next `times` matching calls reach the server, and their answers do not come back. */
  dropAnswers(times: number, matches: Fault['matches']): void {
    this.faults.push({ matches, times, answer: null });
  }

  /** The next `times` matching calls do not reach the server. */
  refuse(times: number, matches: Fault['matches'], status: number, headers: Record<string, string> = {}): void {
    const body = {
      kind: 'Status',
      apiVersion: 'v1',
      status: 'Failure',
      code: status,
      message: `refused with ${status}`,
    };
    this.faults.push({ matches, times, answer: { status, headers, body } });
  }

  /** Matching calls do not reach the server and are never answered. */
  hold(matches: Fault['matches']): void {
    this.faults.push({ matches, times: Infinity, answer: null, holds: true });
  }

  /** Matching lists have nothing in them, until it is stopped. */
  emptyLists(matches: Fault['matches']): { stop(): void } {
    const fault: Fault = { matches, times: Infinity, answer: null, empties: true };
    this.faults.push(fault);
    return { stop: () => void (fault.times = 0) };
  }

  /** Those too that are just being opened. */
  cutWatches(): void {
    this.cuts++;
    for (const response of this.watches) response.socket?.destroy();
  }

  /** Cuts watches, and those that come back with an older version are told that it is forgotten. */
  forgetVersionsUpTo(version: number): void {
    this.compactedAt = version;
    this.cutWatches();
  }

  watching(path: string): number {
    return [...this.watches].filter((response) => response.req.url?.startsWith(`${path}?`)).length;
  }

  count(method: string, path: string): number {
    return this.requests.filter((made) => made.method === method && made.path === path && !made.isWatch).length;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(incoming.url ?? '/', this.url);
    const asked: ProxiedRequest = {
      method: incoming.method ?? 'GET',
      path: url.pathname,
      query: url.searchParams,
      isWatch: url.searchParams.has('watch'),
      status: null,
    };
    this.requests.push(asked);
    if (this.token !== null && incoming.headers.authorization !== `Bearer ${this.token}`) {
      incoming.resume();
      const refusal = { kind: 'Status', code: 401, reason: 'Unauthorized', message: 'Unauthorized' };
      answer(response, 401, refusal);
      return;
    }
    const fault = this.faults.find(({ matches, times }) => times > 0 && matches(asked));
    if (fault) fault.times--;
    if (fault?.holds) return;
    if (fault?.answer) {
      incoming.resume();
      answer(response, fault.answer.status, fault.answer.body, fault.answer.headers);
      return;
    }
    if (asked.isWatch && Number(url.searchParams.get('resourceVersion')) <= this.compactedAt) {
      const status = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' };
      answer(response, 200, { type: 'ERROR', object: status });
      return;
    }
    await this.forward(incoming, response, asked, fault === undefined ? null : fault.empties ? 'empties' : 'drops');
  }

  private async forward(
    incoming: IncomingMessage,
    response: ServerResponse,
    asked: ProxiedRequest,
    fault: 'empties' | 'drops' | null,
  ) {
    const { cuts } = this;
    const { server, headers, agent } = await this.access();
    const send = server.protocol === 'https:' ? requestHttps : requestHttp;
    const translation = this.translatesPolicy && policyV1.test(asked.path) ? await translated(incoming) : null;
    const outgoing = send(new URL(translation?.url ?? incoming.url ?? '/', server), {
      method: asked.method,
      agent,
      headers: { ...incoming.headers, ...translation?.headers, ...headers, host: server.host },
    });
    outgoing.on('error', () => response.socket?.destroy());
    outgoing.on('response', (answered) => {
      asked.status = answered.statusCode ?? null;
      if (asked.isWatch && cuts !== this.cuts) {
        response.socket?.destroy();
        return;
      }
      if (fault === 'drops') {
        answered.resume().once('end', () => response.socket?.destroy());
        return;
      }
      if (fault === 'empties') {
        void emptied(answered).then((body) => answer(response, answered.statusCode ?? 502, body));
        return;
      }
      response.writeHead(answered.statusCode ?? 502, answered.headers);
      if (asked.isWatch) {
        response.flushHeaders();
        this.watches.add(response);
      }
      answered.on('error', () => response.socket?.destroy());
      answered.once('aborted', () => response.socket?.destroy());
      answered.pipe(response);
    });
    response.once('close', () => {
      this.watches.delete(response);
      if (!response.writableEnded) outgoing.destroy();
    });
    if (translation === null) incoming.pipe(outgoing);
    else outgoing.end(translation.body);
  }
}

const policyV1 = /^\/apis\/policy\/v1(?=\/|\?|$)/;

/** The objects that Maestro writes are the same in both versions. */
async function translated(incoming: IncomingMessage) {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const body = Buffer.from(Buffer.concat(chunks).toString('utf8').replace('"policy/v1"', '"policy/v1beta1"'));
  const url = (incoming.url ?? '').replace(policyV1, '/apis/policy/v1beta1');
  return { url, body, headers: { 'content-length': String(body.length) } };
}

async function emptied(answered: IncomingMessage): Promise<object> {
  const chunks: Buffer[] = [];
  for await (const chunk of answered) chunks.push(chunk as Buffer);
  return { ...(JSON.parse(Buffer.concat(chunks).toString('utf8')) as object), items: [] };
}

function answer(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(`${JSON.stringify(body)}\n`);
}
