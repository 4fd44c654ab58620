import { request as requestHttp, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as requestHttps } from 'node:https';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../domain/errors';
import { ApiFailure, pauseBeforeRetryMs } from './api-failure';
import type { Access, ClusterAccess } from './cluster-access';
import type { KubernetesObject, ObjectList, WatchEvent } from './kubernetes-objects';
import type { RateLimit } from './rate-limit';

export interface ApiCall {
  /** `PATCH` merges its body (RFC 7386); a list of operations is done in order, or not at all (RFC 6902). */
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  query?: Readonly<Record<string, string>>;
  body?: object;
}

export interface ApiOptions {
  /** From the call to its answer, with all attempts and pauses. Milliseconds. */
  callDeadlineMs: number;
  /** How long one attempt may go without an answer. Milliseconds. */
  attemptTimeoutMs: number;
  /** A watch on which nothing came for so long, bookmarks included, is taken for broken. Milliseconds. */
  watchSilenceMs: number;
  /** Objects per page of a list. */
  pageSize: number;
}

/** How long the server keeps a watch at most; it goes on where it was. Spread, so that watches do not end together. Seconds. */
const watchTimeoutSeconds = { least: 240, spread: 120 };

/**
 * Calls to the API server as JSON, on kept connections, below a rate, each with a deadline. Attempts that may pass are
 * repeated with growing pauses, writes too: who creates something must be able to tell whether it was made by an attempt
 * whose answer was lost.
 */
export class KubernetesApi {
  private readonly closing = new AbortController();

  constructor(
    private readonly access: ClusterAccess,
    private readonly rate: RateLimit,
    private readonly options: ApiOptions,
  ) {}

  /** @throws ApiFailure */
  async call<T>(call: ApiCall, { attempts = Infinity }: { attempts?: number } = {}): Promise<T> {
    const deadlineMs = Date.now() + this.options.callDeadlineMs;
    let renewed = false;
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.send(call, Math.min(deadlineMs, Date.now() + this.options.attemptTimeoutMs));
        return JSON.parse(response) as T;
      } catch (error) {
        const failure = failureOf(error);
        if (this.closing.signal.aborted) throw failure;
        if (failure.facts.status === 401 && !renewed) {
          renewed = true;
          this.access.renew();
          continue;
        }
        const pauseMs = attempt >= attempts ? null : pauseBeforeRetryMs(failure, attempt, Math.random());
        if (pauseMs === null || Date.now() + pauseMs >= deadlineMs) throw failure;
        await sleep(pauseMs, undefined, { signal: this.closing.signal }).catch(() => undefined);
      }
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
   * @throws ApiFailure also for what the server says within the watch; `isExpired`: only a new list helps.
   */
  async watch<T extends KubernetesObject>(
    path: string,
    query: Readonly<Record<string, string>>,
    resourceVersion: string,
    signal: AbortSignal,
    onEvent: (event: WatchEvent<T>) => void,
  ): Promise<void> {
    const { least, spread } = watchTimeoutSeconds;
    const timeoutSeconds = String(least + Math.floor(Math.random() * spread));
    const call: ApiCall = {
      method: 'GET',
      path,
      query: { ...query, watch: '1', allowWatchBookmarks: 'true', resourceVersion, timeoutSeconds },
    };
    const ended = new AbortController();
    const whole = AbortSignal.any([signal, this.closing.signal, ended.signal]);
    const silence = new SilenceAlarm(() => ended.abort());
    try {
      silence.expectWithin(this.options.attemptTimeoutMs);
      const response = await this.open(call, whole);
      if (response.statusCode !== 200) throw await refusal(response);
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
      if (ended.signal.aborted) throw ApiFailure.noAnswer('nothing came on the watch for too long', error);
      if (error instanceof ApiFailure && error.facts.status === 401) this.access.renew();
      throw failureOf(error);
    } finally {
      silence.off();
      ended.abort();
    }
  }

  close(): void {
    this.closing.abort();
    this.access.close();
  }

  private async readPages<T extends KubernetesObject>(path: string, query: Readonly<Record<string, string>>) {
    const items: T[] = [];
    for (let next = ''; ;) {
      const page = await this.call<ObjectList<T>>({
        method: 'GET',
        path,
        query: { ...query, limit: String(this.options.pageSize), ...(next === '' ? {} : { continue: next }) },
      });
      for (const item of page.items) items.push(item);
      next = page.metadata?.continue ?? '';
      if (next === '') return { items, resourceVersion: page.metadata?.resourceVersion ?? '' };
    }
  }

  private async send(call: ApiCall, deadlineMs: number): Promise<string> {
    const timeout = AbortSignal.timeout(Math.max(1, deadlineMs - Date.now()));
    const signal = AbortSignal.any([timeout, this.closing.signal]);
    try {
      const response = await this.open(call, signal, deadlineMs);
      const { statusCode = 0 } = response;
      if (statusCode < 200 || statusCode > 299) throw await refusal(response);
      return await text(response);
    } catch (error) {
      if (timeout.aborted) throw ApiFailure.noAnswer('the API server did not answer in time', error);
      throw error;
    }
  }

  /** Resolves with the answer's head. */
  private async open(call: ApiCall, signal: AbortSignal, deadlineMs = Infinity): Promise<IncomingMessage> {
    signal.throwIfAborted();
    const waitMs = this.rate.reserve(performance.now(), deadlineMs - Date.now());
    if (waitMs === null) throw ApiFailure.noAnswer('more calls are waiting than the rate limit lets through in time');
    if (waitMs > 0) await sleep(waitMs, undefined, { signal });
    // Credentials may come from a program that hangs.
    const access = await orAborted(this.access.current(), signal);
    return new Promise((resolve, reject) => {
      const request = start(call, access, signal);
      request.on('response', resolve);
      request.on('error', reject);
    });
  }
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

async function refusal(response: IncomingMessage): Promise<ApiFailure> {
  const { statusCode = 0, headers } = response;
  return ApiFailure.ofAnswer(statusCode, headers, await text(response), Date.now());
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
