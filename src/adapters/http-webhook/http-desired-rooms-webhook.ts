import { Agent as HttpAgent, request as requestHttp, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import type { LookupFunction } from 'node:net';
import { messageOf } from '../../domain/errors';
import {
  DesiredRoomsWebhook,
  mostDesiredRooms,
  type FleetQuestion,
  type WebhookFailure,
  type WebhookOutcome,
} from '../../ports/desired-rooms-webhook';
import { GuardedAddressError, guardedLookup, refuseGuardedHost } from './guarded-addresses';

export interface HttpWebhookOptions {
  /** Whether link-local addresses and metadata services may be asked (`guarded-addresses.ts`); for who runs a service there. */
  allowGuardedAddresses: boolean;
  /** Certificates of authorities to trust besides those that Node trusts, PEM. */
  ca?: string[];
  /** How names are resolved; the system's way where nothing is said. */
  lookup?: LookupFunction;
}

/** What an answer needs is less than a hundred bytes; a service that sends more than this is another one than meant. */
const mostAnswerBytes = 64 * 1024;
/** Idle connections to one service that are kept for the next question, and for how long. */
const idleConnections = 8;
const idleMs = 60_000;

/** A failure that a retry may mend; others are final. */
class Failure extends Error {
  constructor(
    readonly failure: WebhookFailure,
    message: string,
    readonly isConnectionError = false,
  ) {
    super(message);
  }
}

/** POSTs the question as JSON; `{"desired": 12}` is an answer. */
export class HttpDesiredRoomsWebhook extends DesiredRoomsWebhook {
  private readonly agents: { http: HttpAgent; https: HttpsAgent };
  /** The questions that are on their way. */
  private readonly asking = new Set<AbortController>();
  private isClosed = false;

  constructor(private readonly options: HttpWebhookOptions) {
    super();
    const lookup = options.allowGuardedAddresses ? options.lookup : guardedLookup(options.lookup);
    const kept = { keepAlive: true, maxFreeSockets: idleConnections, timeout: idleMs, ...(lookup && { lookup }) };
    this.agents = {
      http: new HttpAgent(kept),
      // Said, because an environment variable turns the default off for the whole process.
      https: new HttpsAgent({ ...kept, rejectUnauthorized: true, ...(options.ca && { ca: options.ca }) }),
    };
  }

  async ask(
    { url, timeoutMs }: { url: string; timeoutMs: number },
    question: FleetQuestion,
    signal?: AbortSignal,
  ): Promise<WebhookOutcome> {
    const end = new AbortController();
    const cancel = () => end.abort('canceled');
    if (this.isClosed || signal?.aborted) cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    this.asking.add(end);
    const timer = setTimeout(() => end.abort('deadline_exceeded'), Math.max(0, timeoutMs));
    try {
      const body = JSON.stringify(composeBody(question));
      const asked = this.post(url, body, end.signal).catch((error: unknown) => {
        // A kept connection may have been closed by the other side at this moment, and a service may just be restarting.
        if (error instanceof Failure && error.isConnectionError) return this.post(url, body, end.signal);
        throw error;
      });
      // Whatever the other side does with the connection, nobody waits beyond the deadline.
      const text = await Promise.race([asked, rejectedOnAbort(end.signal)]);
      return { answered: true, desired: readAnswer(text) };
    } catch (error) {
      if (end.signal.aborted) {
        return end.signal.reason === 'canceled'
          ? { answered: false, failure: 'canceled', detail: 'The question was taken back.' }
          : { answered: false, failure: 'deadline_exceeded', detail: `There was no answer within ${timeoutMs} ms.` };
      }
      const failure = error instanceof Failure ? error.failure : 'unreachable';
      return { answered: false, failure, detail: messageOf(error) };
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
      this.asking.delete(end);
    }
  }

  async close(): Promise<void> {
    this.isClosed = true;
    for (const end of this.asking) end.abort('canceled');
    this.agents.http.destroy();
    this.agents.https.destroy();
  }

  /** The body of the answer. Rejects with a `Failure`, or with anything when the signal fires. */
  private async post(text: string, body: string, signal: AbortSignal): Promise<string> {
    // An aborted question is not asked again.
    if (signal.aborted) throw new Failure('canceled', 'The question was taken back.');
    if (!URL.canParse(text)) throw new Failure('unreachable', 'The URL cannot be read.');
    const url = new URL(text);
    if (url.protocol !== 'http:' && url.protocol !== 'https:') {
      throw new Failure('unreachable', `A webhook is asked over http or https, not ${url.protocol}`);
    }
    try {
      if (!this.options.allowGuardedAddresses) refuseGuardedHost(url.hostname);
      const answer = await this.send(url, body, signal);
      if (answer.statusCode !== 200) {
        answer.destroy();
        throw badStatus(answer);
      }
      return await readBody(answer);
    } catch (error) {
      if (error instanceof Failure) throw error;
      if (error instanceof GuardedAddressError) throw new Failure('refused_address', error.message);
      throw new Failure('unreachable', `It could not be reached: ${messageOf(error)}`, isConnectionError(error));
    }
  }

  private send(url: URL, body: string, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const options = {
        method: 'POST',
        signal,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          accept: 'application/json',
          'user-agent': 'maestro',
        },
      };
      const request =
        url.protocol === 'https:'
          ? requestHttps(url, { ...options, agent: this.agents.https })
          : requestHttp(url, { ...options, agent: this.agents.http });
      request.once('response', resolve);
      // An answer that takes the connection over for another protocol, and is followed by neither a response nor an error.
      request.once('upgrade', (answer, socket) => {
        socket.destroy();
        reject(badStatus(answer));
      });
      // Stays for the life of the request: an error may also come after the response began.
      request.on('error', reject);
      request.once('close', () => reject(new Error('the connection was closed without an answer')));
      request.end(body);
    });
  }
}

/** Never resolves. */
function rejectedOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const end = (): void => reject(new Failure('canceled', 'The question was taken back.'));
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}

function badStatus({ statusCode }: IncomingMessage): Failure {
  return new Failure('bad_status', `It answered with HTTP status ${statusCode}, and 200 is an answer.`);
}

/** What goes over the wire; the words are those of the room statuses and of the scheduler's settings. */
function composeBody({ counts, ...question }: FleetQuestion): object {
  return { ...question, rooms: counts.rooms, runningMatches: counts.runningMatches };
}

async function readBody(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // Leaving the loop ends the connection.
    if (bytes > mostAnswerBytes) {
      throw new Failure('answer_too_large', `Its answer has more than ${mostAnswerBytes} bytes.`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function readAnswer(text: string): number {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Failure('bad_answer', 'Its answer is no JSON.');
  }
  const desired = (answer as { desired?: unknown } | null)?.desired;
  if (typeof desired !== 'number' || !Number.isInteger(desired) || desired < 0 || desired > mostDesiredRooms) {
    throw new Failure(
      'bad_answer',
      `Its answer has no "desired" that is a whole number from 0 to ${mostDesiredRooms}.`,
    );
  }
  return desired;
}

const connectionErrors = new Set(['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EAI_AGAIN']);

/** Where a name has several addresses, one error holds those of all. */
function isConnectionError(error: unknown): boolean {
  const { code, errors } = error as { code?: unknown; errors?: unknown };
  if (Array.isArray(errors)) return errors.some(isConnectionError);
  return typeof code === 'string' && connectionErrors.has(code);
}
