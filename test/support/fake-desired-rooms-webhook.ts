import { setMaxListeners } from 'node:events';
import {
  DesiredRoomsWebhook,
  mostDesiredRooms,
  type FleetQuestion,
  type WebhookFailure,
  type WebhookOutcome,
} from '../../src/ports/desired-rooms-webhook';

/** What a service does when it is asked. */
export type WebhookConduct = { desired: number } | 'never answers' | { fails: WebhookFailure };

/** Webhooks of a test's own making; nobody is reached under other URLs. */
export class FakeDesiredRoomsWebhook extends DesiredRoomsWebhook {
  /** Every question, in its order. */
  readonly asked: { url: string; question: FleetQuestion }[] = [];
  private readonly conducts = new Map<string, WebhookConduct>();
  private readonly closing = new AbortController();
  /** Of those that are not answered yet. */
  private readonly waiting = new Set<{ url: string; end: (outcome: WebhookOutcome) => void }>();

  setConduct(url: string, conduct: WebhookConduct): void {
    this.conducts.set(url, conduct);
  }

  constructor() {
    super();
    // Each question listens to it.
    setMaxListeners(0, this.closing.signal);
  }

  /** Answers what waits for an answer, and what is asked from now on. */
  answerAtLast(url: string, conduct: Exclude<WebhookConduct, 'never answers'>): void {
    this.setConduct(url, conduct);
    for (const each of [...this.waiting]) if (each.url === url) each.end(outcomeOf(conduct));
  }

  async ask(
    { url, timeoutMs }: { url: string; timeoutMs: number },
    question: FleetQuestion,
    signal?: AbortSignal,
  ): Promise<WebhookOutcome> {
    if (this.closing.signal.aborted || signal?.aborted) return failed('canceled');
    this.asked.push({ url, question });
    const conduct = this.conducts.get(url) ?? { fails: 'unreachable' };
    if (conduct !== 'never answers') return outcomeOf(conduct);
    return new Promise((resolve) => {
      const end = (outcome: WebhookOutcome): void => {
        clearTimeout(timer);
        this.waiting.delete(asked);
        resolve(outcome);
      };
      const asked = { url, end };
      const timer = setTimeout(() => end(failed('deadline_exceeded')), timeoutMs);
      this.waiting.add(asked);
      for (const ending of [this.closing.signal, ...(signal ? [signal] : [])]) {
        ending.addEventListener('abort', () => end(failed('canceled')));
      }
    });
  }

  async close(): Promise<void> {
    this.closing.abort();
  }
}

function outcomeOf(conduct: Exclude<WebhookConduct, 'never answers'>): WebhookOutcome {
  if ('fails' in conduct) return failed(conduct.fails);
  const { desired } = conduct;
  const isAnswer = Number.isInteger(desired) && desired >= 0 && desired <= mostDesiredRooms;
  return isAnswer ? { answered: true, desired } : failed('bad_answer');
}

function failed(failure: WebhookFailure): WebhookOutcome {
  return { answered: false, failure, detail: `Pretended: ${failure}.` };
}
