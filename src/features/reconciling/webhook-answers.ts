import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import type { WebhookAnswer, WebhookSilence } from '../../domain/autoscaling/policy-facts';
import type { WebhookParameters } from '../../domain/scheduler/scheduler';
import { DesiredRoomsWebhook, type FleetQuestion } from '../../ports/desired-rooms-webhook';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { WakeUps } from '../../ports/wake-ups';
import { RepeatedWarnings } from '../repeated-warnings';

export interface WebhookRound {
  question: FleetQuestion;
  /** Of the scheduler: what another one of the same name was told is not for this one. */
  createdAtMs: number;
  /** The clock that answers are dated by. */
  nowMs: number;
  /** The last answers, by URL. */
  remembered: Readonly<Record<string, WebhookAnswer>>;
  /** An answer that is no older is taken again, without asking, while it holds. Milliseconds; 0: all are asked. */
  reuseForMs: number;
  /** Ends the waiting. A question that was asked goes on. */
  signal: AbortSignal | undefined;
}

/** By URL. */
export interface WebhookReports {
  /** What each of them said last. For how long that holds is for the policy to say. */
  answers: Map<string, WebhookAnswer>;
  /** Of those that did not answer this look. */
  silences: Map<string, WebhookSilence>;
}

/** A look waits for an answer no longer: dead rooms are replaced by looks. Milliseconds, from when the question was asked. */
const patienceMs = 1_000;

/**
 * For how long one that did not answer is left alone: as long again after each failure in a row, so that a service that is down is
 * not asked by each of many looks.
 */
const firstPauseMs = 5_000;
const longestPauseMs = 60_000;
/** An answer that nobody waited for is the one of a look that begins so soon after it: its ring takes moments. */
const answersLookForMs = 30_000;
/** What nobody asked for so long says nothing any more. */
const forgottenAfterMs = 600_000;
/** Questions of this process that are on their way at once. Each holds a connection; those beyond are put off. */
export const mostQuestions = 200;

/** A question on its way. */
interface Question {
  askedAtMs: number;
  /** The same, by a clock that only goes forward. */
  startedAtMs: number;
  /** A look went on without its answer, and another one is due when it comes. */
  isMissed: boolean;
  /** What came of it; null until it ends, and when it failed. */
  desired: number | null;
  /** Never rejects. */
  ended: Promise<void>;
}

/** A webhook as one scheduler asks it: that it fails for one game's question says nothing of another's. */
interface Service {
  question: Question | null;
  /** Questions that failed, one after the other. */
  failures: number;
  failure: { detail: string; atMs: number } | null;
  /** From when on it is asked again. */
  leftAloneUntilMs: number;
  /** An answer that came when no look waited for it any more. */
  late: (WebhookAnswer & { isTaken: boolean }) | null;
  /** By a clock that only goes forward. */
  usedAtMs: number;
}

/**
 * Asks the services by which a policy goes, all at once. A look waits for them a short time only; the answer of one that takes longer
 * rings for the scheduler's health when it comes, and is the next look's. Where another process does that look, it asks again.
 */
@Injectable()
export class WebhookAnswers implements OnApplicationShutdown {
  private readonly warnings: RepeatedWarnings;
  /** By scheduler, its creation and URL. What answers within each look is not in here. */
  private readonly services = new Map<string, Service>();
  private readonly ending = new AbortController();
  private onTheirWay = 0;

  constructor(
    private readonly webhook: DesiredRoomsWebhook,
    private readonly wakeUps: WakeUps,
    private readonly metrics: Metrics,
    logger: Logger,
  ) {
    this.warnings = new RepeatedWarnings(logger);
    // Each question listens to it; Node takes more than ten for a leak, and says so.
    setMaxListeners(mostQuestions, this.ending.signal);
  }

  /** What each of these webhooks said last: now, or, where it does not answer or did not just before, earlier. Others are forgotten. */
  async gather(webhooks: readonly WebhookParameters[], round: WebhookRound): Promise<WebhookReports> {
    this.forgetOld();
    const reports: WebhookReports = { answers: new Map(), silences: new Map() };
    const report = async (webhook: WebhookParameters): Promise<void> => {
      const { answer, silence } = await this.reportOf(webhook, round);
      if (answer) reports.answers.set(webhook.url, answer);
      if (silence) reports.silences.set(webhook.url, silence);
    };
    await Promise.all(webhooks.map(report));
    return reports;
  }

  /** Looks are over by now; who still answers does so in vain. */
  onApplicationShutdown(): void {
    this.ending.abort();
  }

  private async reportOf(
    webhook: WebhookParameters,
    round: WebhookRound,
  ): Promise<{ answer?: WebhookAnswer | undefined; silence?: WebhookSilence | null }> {
    const { url, maxAnswerAgeSeconds } = webhook;
    const { question, createdAtMs, nowMs, reuseForMs, signal } = round;
    const key = JSON.stringify([question.scheduler, createdAtMs, url]);
    const service = this.services.get(key) ?? emptyService();
    service.usedAtMs = performance.now();
    const { late } = service;
    const known = lastOf(late, round, url);
    const passed = { answer: known, silence: silenceOf(service) };
    if (late !== null && !late.isTaken) {
      late.isTaken = true;
      if (nowMs - late.atMs < answersLookForMs) return passed;
    }
    const stillGoodMs = Math.min(reuseForMs, maxAnswerAgeSeconds * 1000 + 1);
    if (known !== undefined && nowMs - known.atMs < stillGoodMs) return passed;
    if (service.question === null) {
      if (signal?.aborted || isLeftAlone(service, nowMs)) return passed;
      if (this.onTheirWay >= mostQuestions) return { answer: known, silence: putOff(service, nowMs) };
      this.services.set(key, service);
      this.ask(key, service, { webhook, round });
    }
    const asked = service.question!;
    await endOf(asked, signal);
    if (asked.desired !== null) return { answer: { desired: asked.desired, atMs: nowMs } };
    if (service.question === asked) asked.isMissed = true;
    return { answer: known, silence: silenceOf(service) };
  }

  private ask(
    key: string,
    service: Service,
    { webhook: { url, timeoutMs }, round }: { webhook: WebhookParameters; round: WebhookRound },
  ): void {
    const { question, nowMs } = round;
    const { scheduler } = question;
    const asked: Question = {
      askedAtMs: nowMs,
      startedAtMs: performance.now(),
      isMissed: false,
      desired: null,
      ended: Promise.resolve(),
    };
    const carry = async (): Promise<void> => {
      const outcome = await this.webhook.ask({ url, timeoutMs }, question, this.ending.signal);
      this.onTheirWay -= 1;
      this.metrics.webhookAsked(scheduler, outcome.answered ? 'answered' : outcome.failure);
      service.question = null;
      const endedAtMs = nowMs + performance.now() - asked.startedAtMs;
      if (outcome.answered) {
        asked.desired = outcome.desired;
        Object.assign(service, {
          failures: 0,
          failure: null,
          leftAloneUntilMs: 0,
          late: null,
        } satisfies Partial<Service>);
        if (asked.isMissed) service.late = { desired: outcome.desired, atMs: endedAtMs, isTaken: false };
        else this.services.delete(key);
      } else if (outcome.failure !== 'canceled') {
        noteFailure(service, outcome.detail, endedAtMs);
      }
      if (!outcome.answered) {
        this.warnings.warn(
          { scheduler_name: scheduler, failure: outcome.failure, reason: outcome.detail },
          'a webhook did not say how many rooms there should be',
          outcome.failure,
        );
      }
      const isCanceled = !outcome.answered && outcome.failure === 'canceled';
      if (asked.isMissed && !isCanceled) void this.wakeUps.ring('health', scheduler);
    };
    this.onTheirWay += 1;
    service.question = asked;
    asked.ended = carry();
  }

  private forgetOld(): void {
    for (const [key, { question, usedAtMs }] of this.services) {
      if (question === null && performance.now() - usedAtMs > forgottenAfterMs) this.services.delete(key);
    }
  }
}

function emptyService(): Service {
  return { question: null, failures: 0, failure: null, leftAloneUntilMs: 0, late: null, usedAtMs: 0 };
}

/** The newest answer that anybody remembers. A clock that was ahead must not make one last for ever. */
function lastOf(
  late: WebhookAnswer | null,
  { remembered, nowMs }: WebhookRound,
  url: string,
): WebhookAnswer | undefined {
  const stored = Object.hasOwn(remembered, url) ? remembered[url] : undefined;
  const last = late !== null && (stored === undefined || stored.atMs < late.atMs) ? late : stored;
  return last && { desired: last.desired, atMs: Math.min(last.atMs, nowMs) };
}

function silenceOf({ question, failure, leftAloneUntilMs }: Service): WebhookSilence | null {
  if (question !== null) return { failure, askedAtMs: question.askedAtMs, askedAgainAtMs: null };
  return failure && { failure, askedAtMs: null, askedAgainAtMs: leftAloneUntilMs };
}

function isLeftAlone({ leftAloneUntilMs }: Service, nowMs: number): boolean {
  const leftMs = leftAloneUntilMs - nowMs;
  // A clock that went back must not make a pause last for ever.
  return leftMs > 0 && leftMs <= longestPauseMs;
}

function noteFailure(service: Service, detail: string, atMs: number): void {
  service.failures += 1;
  service.failure = { detail, atMs };
  service.leftAloneUntilMs = atMs + Math.min(longestPauseMs, firstPauseMs * 2 ** (service.failures - 1));
}

/** Not a failure of the service's: nothing is remembered of it. */
function putOff({ failure }: Service, nowMs: number): WebhookSilence {
  const detail = `It was not asked, because ${mostQuestions} questions to webhooks are on their way already.`;
  return { failure: failure ?? { detail, atMs: nowMs }, askedAtMs: null, askedAgainAtMs: nowMs + firstPauseMs };
}

/** Waits for the end of a question, for as long as a look may. */
async function endOf({ ended, startedAtMs }: Question, signal: AbortSignal | undefined): Promise<void> {
  const leftMs = Math.ceil(patienceMs - (performance.now() - startedAtMs));
  if (leftMs <= 0) return;
  const over = new AbortController();
  const ending = signal ? AbortSignal.any([signal, over.signal]) : over.signal;
  await Promise.race([ended, sleep(leftMs, undefined, { signal: ending }).catch(() => undefined)]);
  over.abort();
}
