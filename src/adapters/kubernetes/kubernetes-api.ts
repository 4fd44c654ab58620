import { setMaxListeners } from 'node:events';
import { request as requestHttp, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as requestHttps } from 'node:https';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../domain/errors';
import { ApiFailure, pauseBeforeRetryMs } from './api-failure';
import { CallLane } from './call-lane';
import { maxSockets, type Access, type ClusterAccess } from './cluster-access';
import type { KubernetesObject, ObjectList, WatchEvent } from './kubernetes-objects';
import { LinkedAbort } from './linked-abort';
import { RateLimit } from './rate-limit';
import { ServerSilence } from './server-silence';

export interface ApiCall {
  /** `PATCH` merges its body (RFC 7386); a list of operations is done in order, or not at all (RFC 6902). */
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  query?: Readonly<Record<string, string>>;
  body?: object;
}

export interface ApiOptions {
  /**
   * From when a call is among those in flight to its answer, with all attempts and pauses; while the server serves nobody, from
   * when it was asked for, but for one attempt at least. Milliseconds.
   */
  callDeadlineMs: number;
  /** How long one attempt may go without an answer once its turn came. Milliseconds. */
  attemptTimeoutMs: number;
  /** A watch on which nothing came for so long, bookmarks included, is taken for broken. Milliseconds. */
  watchSilenceMs: number;
  /** Objects per page of a list. */
  pageSize: number;
}

/** How long the server keeps a watch at most; it goes on where it was. Spread, so that watches do not end together. Seconds. */
const watchTimeoutSeconds = { least: 240, spread: 120 };

/** Together fewer than there are connections: what is in flight has one. Watches need no place. */
const mostInFlight = { ordinary: maxSockets - 30, urgent: 20 };
/** How long a call waits at most until it is in flight, as long as the server serves those before it. Milliseconds. */
const longestQueueMs = 300_000;

export interface CallOptions {
  attempts?: number;
  /** Does not wait behind ordinary calls, however many there are, and takes at most half of the rate. */
  isUrgent?: boolean;
}

/**
 * Calls to the API server as JSON, on kept connections, below a rate, each with a deadline. Many at once wait in line: while the
 * server serves others only what is in flight can run out of time, and while it serves nobody the wait counts too, so that a call
 * fails soon where the server is away, however many are before it. Lists, watches and what is called urgent have a line of their
 * own. Attempts that may pass are repeated with growing pauses, writes too: who creates something must be able to tell whether
 * it was made by an attempt whose answer was lost.
 */
export class KubernetesApi {
  /** For calls that wait for no ordinary ones. */
  readonly urgent: Pick<KubernetesApi, 'call'> = {
    call: (call, options) => this.call(call, { ...options, isUrgent: true }),
  };
  private readonly closing = new AbortController();
  private readonly lanes: { ordinary: CallLane; urgent: CallLane };
  /** The server asked to be left alone until then, by `performance.now`. */
  private notBeforeMs = -Infinity;

  constructor(
    private readonly access: ClusterAccess,
    { qps, burst }: { qps: number; burst: number },
    private readonly options: ApiOptions,
    /** What is heard of the server; told to nobody unless it is given. */
    private readonly silence = new ServerSilence(null),
  ) {
    // What is in flight gets its turn in half of its deadline, also while urgent calls take their half of the rate.
    const inTime = Math.max(1, Math.floor((qps / 2) * (options.callDeadlineMs / 2_000)));
    const rate = new RateLimit(qps, burst);
    this.lanes = {
      ordinary: new CallLane(rate, Math.min(mostInFlight.ordinary, inTime)),
      urgent: new CallLane(new RateLimit(qps / 2, Math.ceil(burst / 2)), Math.min(mostInFlight.urgent, inTime), rate),
    };
    // One listener per call in flight.
    setMaxListeners(0, this.closing.signal);
  }

  /** @throws ApiFailure */
  async call<T>(call: ApiCall, { attempts = Infinity, isUrgent = false }: CallOptions = {}): Promise<T> {
    const lane = isUrgent ? this.lanes.urgent : this.lanes.ordinary;
    const { callDeadlineMs, attemptTimeoutMs } = this.options;
    const askedMs = performance.now();
    const waitedMs = (): number => performance.now() - askedMs;
    const moreMs = (): number => (this.isServing() ? Math.min(attemptTimeoutMs, longestQueueMs - waitedMs()) : 0);
    if (!(await lane.enter(callDeadlineMs, this.closing.signal, moreMs))) {
      throw ApiFailure.noAnswer(
        this.closing.signal.aborted
          ? 'this client was closed'
          : this.isServing()
            ? 'too many calls wait for the API server'
            : 'the API server does not answer those that wait longer',
      );
    }
    try {
      const leftMs = this.isServing() ? callDeadlineMs : Math.max(attemptTimeoutMs, callDeadlineMs - waitedMs());
      return await this.callInFlight<T>(call, lane, { attempts, deadlineMs: Date.now() + leftMs });
    } finally {
      lane.leave();
    }
  }

  /**
   * One attempt of an ordinary call, if nothing has to wait because of it.
   * @returns whether there was one. @throws ApiFailure
   */
  async callIfIdle(call: ApiCall): Promise<boolean> {
    const lane = this.lanes.ordinary;
    if (this.closing.signal.aborted || performance.now() < this.notBeforeMs || !lane.tryEnter()) return false;
    try {
      await this.send(call, this.options.attemptTimeoutMs);
      return true;
    } catch (error) {
      throw failureOf(error);
    } finally {
      lane.leave();
    }
  }

  /** All pages, as one moment shows them. @throws ApiFailure */
  async list<T extends KubernetesObject>(
    path: string,
    query: Readonly<Record<string, string>> = {},
  ): Promise<{ items: T[]; resourceVersion: string }> {
    for (let begins = 1; ; begins++) {
      try {
        return await this.readPages<T>(path, query);
      } catch (error) {
        // The moment that the first page showed was forgotten before the last one was read.
        if (!(error instanceof ApiFailure) || !error.isExpired || begins === 3) throw error;
      }
    }
  }

  /**
   * Follows from a version on until the server ends it, which it does every few minutes, or `signal` aborts.
   * @throws ApiFailure also for what the server says within the watch; `needsList`: only a new list helps.
   */
  async watch<T extends KubernetesObject>(
    path: string,
    query: Readonly<Record<string, string>>,
    resourceVersion: string,
    signal: AbortSignal,
    { onOpen, onEvent }: { onOpen: () => void; onEvent: (event: WatchEvent<T>) => void },
  ): Promise<void> {
    const { least, spread } = watchTimeoutSeconds;
    const timeoutSeconds = String(least + Math.floor(Math.random() * spread));
    const call: ApiCall = {
      method: 'GET',
      path,
      query: { ...query, watch: '1', allowWatchBookmarks: 'true', resourceVersion, timeoutSeconds },
    };
    const linked = new LinkedAbort(signal, this.closing.signal);
    const whole = linked.signal;
    let isSilent = false;
    let isOpen = false;
    const silence = new SilenceAlarm(() => {
      isSilent = true;
      linked.abort();
    });
    try {
      await this.turn(this.lanes.urgent, Infinity, whole);
      silence.expectWithin(this.options.attemptTimeoutMs);
      const response = await this.open(call, whole);
      if (response.statusCode !== 200) throw await this.refusal(response);
      isOpen = true;
      onOpen();
      const decoder = new StringDecoder('utf8');
      let rest = '';
      silence.expectWithin(this.options.watchSilenceMs);
      for await (const chunk of response) {
        silence.expectWithin(this.options.watchSilenceMs);
        const lines = (rest + decoder.write(chunk as Buffer)).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          if (whole.aborted) return;
          if (line === '') continue;
          const event = JSON.parse(line) as WatchEvent<T>;
          if (event.type === 'ERROR') throw ApiFailure.ofStatus(event.object);
          onEvent(event);
        }
      }
    } catch (error) {
      if (signal.aborted || this.closing.signal.aborted) return;
      if (isOfCredentials(error)) throw error;
      if (isSilent && isOpen) throw ApiFailure.silence('nothing came on the watch for too long', error);
      if (isSilent) throw ApiFailure.noAnswer('the API server did not open the watch in time', error);
      throw failureOf(error);
    } finally {
      silence.off();
      linked.release();
      linked.abort();
    }
  }

  close(): void {
    this.closing.abort();
    this.access.close();
  }

  private async readPages<T extends KubernetesObject>(path: string, query: Readonly<Record<string, string>>) {
    const items: T[] = [];
    for (let next = ''; ;) {
      const page = await this.urgent.call<ObjectList<T>>({
        method: 'GET',
        path,
        query: { ...query, limit: String(this.options.pageSize), ...(next === '' ? {} : { continue: next }) },
      });
      for (const item of page.items) items.push(item);
      next = page.metadata?.continue ?? '';
      if (next === '') return { items, resourceVersion: page.metadata?.resourceVersion ?? '' };
    }
  }

  /** Whether what waits in line gets its turn. */
  private isServing(): boolean {
    return !this.silence.servesNobodyFor(this.options.callDeadlineMs);
  }

  private async callInFlight<T>(
    call: ApiCall,
    lane: CallLane,
    { attempts, deadlineMs }: { attempts: number; deadlineMs: number },
  ): Promise<T> {
    let renewed = false;
    for (let attempt = 1; ; attempt++) {
      let isSent = false;
      try {
        await this.turn(lane, deadlineMs - Date.now(), this.closing.signal);
        isSent = true;
        const response = await this.send(call, Math.min(deadlineMs - Date.now(), this.options.attemptTimeoutMs));
        return JSON.parse(response) as T;
      } catch (error) {
        const failure = failureOf(error);
        if (this.closing.signal.aborted) throw failure;
        if (failure.facts.status === 401 && !renewed) {
          renewed = true;
          continue;
        }
        const pauseMs = attempt >= attempts ? null : this.pauseMs(call, failure, attempt);
        if (pauseMs === null || Date.now() + pauseMs >= deadlineMs) {
          const isUnanswered = isSent && failure.facts.status === null && !failure.isOfCredentials;
          if (isUnanswered) this.silence.unanswered(failure.message);
          throw failure;
        }
        await sleep(pauseMs, undefined, { signal: this.closing.signal }).catch(() => undefined);
      }
    }
  }

  private pauseMs({ method }: ApiCall, failure: ApiFailure, attempt: number): number | null {
    return pauseBeforeRetryMs(failure, { attempt, random: Math.random(), makes: method === 'POST' });
  }

  /** Waits until an attempt may be made. @throws ApiFailure when that is too late for it. */
  private async turn(lane: CallLane, longestWaitMs: number, signal: AbortSignal): Promise<void> {
    const latestMs = performance.now() + longestWaitMs;
    if (!(await lane.turn(longestWaitMs, signal))) {
      throw ApiFailure.noAnswer('more calls are waiting than the rate limit lets through in time');
    }
    for (let nowMs = performance.now(); nowMs < this.notBeforeMs; nowMs = performance.now()) {
      if (this.notBeforeMs >= latestMs) throw ApiFailure.noAnswer('the API server asks to be left alone');
      // Timers may be early by a fraction.
      await sleep(Math.ceil(this.notBeforeMs - nowMs), undefined, { signal });
    }
  }

  private async send(call: ApiCall, timeoutMs: number): Promise<string> {
    const linked = new LinkedAbort(this.closing.signal);
    let isLate = false;
    const alarm = setTimeout(
      () => {
        isLate = true;
        linked.abort();
      },
      Math.max(1, timeoutMs),
    );
    try {
      const response = await this.open(call, linked.signal);
      const { statusCode = 0 } = response;
      if (statusCode < 200 || statusCode > 299) throw await this.refusal(response);
      return await text(response);
    } catch (error) {
      if (!isLate || isOfCredentials(error)) throw error;
      const failure = ApiFailure.noAnswer('the API server did not answer in time', error);
      // Before the further attempts of this call, each of which takes as long.
      this.silence.unanswered(failure.message);
      throw failure;
    } finally {
      clearTimeout(alarm);
      linked.release();
    }
  }

  /** Resolves with the answer's head. */
  private async open(call: ApiCall, signal: AbortSignal): Promise<IncomingMessage> {
    signal.throwIfAborted();
    const access = await this.credentials(signal);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = start(call, access, signal);
      request.on('response', resolve);
      request.on('error', reject);
    });
    this.silence.answered(response.statusCode ?? 0);
    if (response.statusCode === 401) this.access.renew(access);
    return response;
  }

  /** @throws ApiFailure `isOfCredentials`, also where they did not come before the signal aborted. */
  private async credentials(signal: AbortSignal): Promise<Access> {
    try {
      // They may come from a program that hangs.
      return await orAborted(this.access.current(), signal);
    } catch (error) {
      if (this.closing.signal.aborted) throw error;
      const why = signal.aborted
        ? 'it did not end in time'
        : messageOf(error)
            .trim()
            .replaceAll(/\s*\n\s*/g, ' ');
      throw ApiFailure.noCredentials(`no credentials came from ${this.access.credentialsSource}: ${why}`, error);
    }
  }

  private async refusal(response: IncomingMessage): Promise<ApiFailure> {
    const { statusCode = 0, headers } = response;
    const failure = ApiFailure.ofAnswer(statusCode, headers, await text(response), Date.now());
    const { status, retryAfterMs } = failure.facts;
    if (status === 429 && retryAfterMs !== null) {
      // Not so long that calls which are in flight run out of time for it: who was refused waits longer on its own.
      const pauseMs = Math.min(retryAfterMs, this.options.callDeadlineMs / 2);
      this.notBeforeMs = Math.max(this.notBeforeMs, performance.now() + pauseMs);
    }
    return failure;
  }
}

function isOfCredentials(error: unknown): boolean {
  return error instanceof ApiFailure && error.isOfCredentials;
}

/** @throws the signal's reason when it aborts first. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (abort) signal.removeEventListener('abort', abort);
  }
}

function start({ method, path, query = {}, body }: ApiCall, access: Access, signal: AbortSignal): ClientRequest {
  const { server, headers, agent } = access;
  const url = new URL(server);
  url.pathname = url.pathname.replace(/\/$/, '') + path;
  url.search = new URLSearchParams(query).toString();
  const payload = body === undefined ? null : Buffer.from(JSON.stringify(body));
  const options: RequestOptions = {
    method,
    agent,
    signal,
    headers: {
      ...headers,
      accept: 'application/json',
      'user-agent': 'maestro',
      ...(payload === null ? {} : { 'content-type': contentType(method, body), 'content-length': payload.length }),
    },
  };
  const request = url.protocol === 'http:' ? requestHttp(url, options) : requestHttps(url, options);
  request.setNoDelay(true);
  request.end(payload ?? undefined);
  return request;
}

function contentType(method: ApiCall['method'], body: unknown): string {
  if (method !== 'PATCH') return 'application/json';
  return Array.isArray(body) ? 'application/json-patch+json' : 'application/merge-patch+json';
}

async function text(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function failureOf(error: unknown): ApiFailure {
  return error instanceof ApiFailure ? error : ApiFailure.noAnswer(messageOf(error), error);
}

/** Rings when what is expected does not come. */
class SilenceAlarm {
  private timer: NodeJS.Timeout | null = null;

  constructor(private readonly ring: () => void) {}

  expectWithin(ms: number): void {
    this.off();
    this.timer = setTimeout(this.ring, ms);
  }

  off(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }
}
