import { FakeDesiredRoomsWebhook } from '../../../test/support/fake-desired-rooms-webhook';
import { eventually } from '../../../test/support/eventually';
import { RecordedLog } from '../../../test/support/recorded-log';
import { RecordedWakeUps } from '../../../test/support/recorded-wake-ups';
import { emptyFleetCounts } from '../../domain/room/count-fleet';
import type { Metrics } from '../../ports/metrics';
import { mostQuestions, WebhookAnswers, type WebhookReports } from './webhook-answers';

const url = 'http://forecast.test/';
const startMs = 1_700_000_000_000;
const [second, minute] = [1_000, 60_000];

interface LookOptions {
  scheduler: string;
  createdAtMs: number;
  url: string;
  timeoutMs: number;
  maxAnswerAgeSeconds: number;
  remembered: Record<string, { desired: number; atMs: number }>;
  reuseForMs: number;
  signal: AbortSignal;
}

let webhook: FakeDesiredRoomsWebhook;
let wakeUps: RecordedWakeUps;
let outcomes: string[];
let answers: WebhookAnswers;

beforeEach(() => {
  [webhook, wakeUps, outcomes] = [new FakeDesiredRoomsWebhook(), new RecordedWakeUps(), []];
  const metrics = { webhookAsked: (_: string, outcome: string) => outcomes.push(outcome) } as unknown as Metrics;
  answers = new WebhookAnswers(webhook, wakeUps, metrics, new RecordedLog());
});
afterEach(() => webhook.close());

/** What a look is told so long after the first one. */
function reports(afterMs: number, changes: Partial<LookOptions> = {}): Promise<WebhookReports> {
  const { scheduler = 'arena', createdAtMs = 0, timeoutMs = 1, remembered = {}, reuseForMs = 0, signal } = changes;
  const question = {
    scheduler,
    version: 'v1.0.0',
    counts: emptyFleetCounts(),
    maxMatches: 1,
    roomsReplicas: 1,
    min: 0,
    max: -1,
    lastDesired: null,
  };
  const round = { question, createdAtMs, nowMs: startMs + afterMs, remembered, reuseForMs, signal };
  const { maxAnswerAgeSeconds = 60 } = changes;
  return answers.gather([{ url: changes.url ?? url, timeoutMs, maxAnswerAgeSeconds }], round);
}

/** What it said last, as such a look takes it. */
async function look(afterMs: number, changes: Partial<LookOptions> = {}): Promise<number | undefined> {
  return (await reports(afterMs, changes)).answers.get(url)?.desired;
}

const hour = 3_600_000;

/** A look that goes on at once, while its question does not. */
async function lookInVain(afterMs: number, changes: Partial<LookOptions> = {}): Promise<WebhookReports> {
  const impatient = new AbortController();
  const before = webhook.asked.length;
  const told = reports(afterMs, { timeoutMs: hour, ...changes, signal: impatient.signal });
  expect(webhook.asked).toHaveLength(before + 1);
  impatient.abort();
  return told;
}

describe('a webhook that does not answer', () => {
  /** The times, in seconds, at which one of the looks that come each second asked. */
  async function timesOfQuestions(untilSeconds: number): Promise<number[]> {
    const times: number[] = [];
    for (let now = 0; now <= untilSeconds; now++) {
      const before = webhook.asked.length;
      await look(now * second);
      if (webhook.asked.length > before) times.push(now);
    }
    return times;
  }

  it.each(['unreachable', 'bad_status', 'deadline_exceeded'] as const)(
    'is asked again after a pause, which grows to a minute: %s',
    async (failure) => {
      webhook.setConduct(url, { fails: failure });
      const times = await timesOfQuestions(300);
      const pauses = times.slice(1).map((time, index) => time - times[index]!);
      // The question itself takes some of a second, which the look after it finds.
      expect(pauses.map((pause) => Math.round(pause / 5) * 5)).toEqual([5, 10, 20, 40, 60, 60, 60]);
      expect(outcomes).toEqual(times.map(() => failure));
    },
  );

  it('is not waited for by the looks of its pause, which go by what it said last', async () => {
    webhook.setConduct(url, 'never answers');
    const remembered = { [url]: { desired: 7, atMs: startMs - second } };
    expect(await look(0, { remembered })).toBe(7);
    // One that asks waits for as long as the timeout says.
    const looks = Array.from({ length: 50 }, () => look(second, { remembered, timeoutMs: 3_600_000 }));
    expect(new Set(await Promise.all(looks))).toEqual(new Set([7]));
    expect(webhook.asked).toHaveLength(1);
  });

  it('is asked at every look again once it answers', async () => {
    webhook.setConduct(url, { fails: 'unreachable' });
    await look(0);
    webhook.setConduct(url, { desired: 4 });
    expect(await look(6 * second)).toBe(4);
    expect(await look(7 * second)).toBe(4);
    webhook.setConduct(url, { fails: 'unreachable' });
    await look(8 * second);
    await look(14 * second);
    expect(webhook.asked).toHaveLength(5);
  });

  it('is asked by another scheduler all the same', async () => {
    webhook.setConduct(url, { fails: 'unreachable' });
    await look(0);
    webhook.setConduct(url, { desired: 4 });
    expect(await look(second, { scheduler: 'other' })).toBe(4);
  });

  it('is asked again when the question was taken back', async () => {
    await look(0, { signal: AbortSignal.abort() });
    webhook.setConduct(url, { desired: 4 });
    expect(await look(second)).toBe(4);
  });

  it('is asked when the clock went back', async () => {
    webhook.setConduct(url, { fails: 'unreachable' });
    await look(0);
    webhook.setConduct(url, { desired: 4 });
    expect(await look(-10 * minute)).toBe(4);
  });
});

describe('what is told of a webhook that fails', () => {
  it('is why, when, and when it is asked again', async () => {
    webhook.setConduct(url, { fails: 'bad_status' });
    const remembered = { [url]: { desired: 4, atMs: startMs - minute } };
    const first = await reports(0, { remembered });
    const { failure, askedAgainAtMs } = first.silences.get(url)!;
    expect(failure).toEqual({ detail: 'Pretended: bad_status.', atMs: expect.closeTo(startMs, -3) });
    expect(askedAgainAtMs).toBe(failure!.atMs + 5 * second);
    expect(first.answers.get(url)?.desired).toBe(4);
    // By the looks of its pause too, and by the one that takes the answer of a moment ago.
    expect((await reports(second, { remembered })).silences).toEqual(first.silences);
    expect((await reports(second, { remembered, reuseForMs: hour })).silences).toEqual(first.silences);
    expect(webhook.asked).toHaveLength(1);
  });

  it('is over once it answers', async () => {
    webhook.setConduct(url, { fails: 'bad_status' });
    await look(0);
    webhook.setConduct(url, { desired: 4 });
    expect((await reports(6 * second)).silences).toEqual(new Map());
    expect((await reports(7 * second)).silences).toEqual(new Map());
  });

  it('is not told of another scheduler of the same name', async () => {
    webhook.setConduct(url, { fails: 'bad_status' });
    await look(0);
    webhook.setConduct(url, { desired: 4 });
    expect(await look(second, { createdAtMs: startMs })).toBe(4);
  });
});

describe('a webhook that is slow', () => {
  beforeEach(() => webhook.setConduct(url, 'never answers'));

  it('holds no look up for longer than a second', async () => {
    const remembered = { [url]: { desired: 7, atMs: startMs - second } };
    const told = await reports(0, { remembered, timeoutMs: hour });
    expect(told.answers.get(url)?.desired).toBe(7);
    expect(told.silences.get(url)).toEqual({ failure: null, askedAtMs: startMs, askedAgainAtMs: null });
    expect(outcomes).toEqual([]);
  });

  it('rings when it answers, and the next look takes that without asking again', async () => {
    await lookInVain(0);
    expect(wakeUps.rings).toEqual([]);
    webhook.answerAtLast(url, { desired: 9 });
    await eventually(() => expect(wakeUps.rings).toEqual([{ kind: 'health', scheduler: 'arena', delayMs: 0 }]));
    webhook.setConduct(url, { desired: 11 });
    const told = await reports(3 * second);
    expect(told).toEqual({
      answers: new Map([[url, { desired: 9, atMs: expect.closeTo(startMs, -3) }]]),
      silences: new Map(),
    });
    expect(webhook.asked).toHaveLength(1);
    // That is the answer of one look, and is remembered.
    webhook.setConduct(url, { fails: 'unreachable' });
    expect(await look(4 * second)).toBe(9);
    expect(webhook.asked).toHaveLength(2);
    webhook.setConduct(url, { desired: 11 });
    expect(await look(30 * second)).toBe(11);
    expect(wakeUps.rings).toHaveLength(1);
  });

  it('rings when it fails in the end, so that somebody is told', async () => {
    await lookInVain(0);
    webhook.answerAtLast(url, { fails: 'bad_status' });
    await eventually(() => expect(wakeUps.rings).toHaveLength(1));
    expect((await reports(second)).silences.get(url)?.failure?.detail).toBe('Pretended: bad_status.');
    expect(webhook.asked).toHaveLength(1);
  });

  it('is asked one question at a time, for which looks do not wait together longer than for one', async () => {
    const impatient = new AbortController();
    const looks = Array.from({ length: 20 }, () => reports(0, { timeoutMs: hour, signal: impatient.signal }));
    expect(webhook.asked).toHaveLength(1);
    impatient.abort();
    await Promise.all(looks);
    const later = reports(0, { timeoutMs: hour });
    webhook.answerAtLast(url, { desired: 9 });
    expect((await later).answers.get(url)?.desired).toBe(9);
    expect(webhook.asked).toHaveLength(1);
  });

  it('is not taken for new when nobody looked for long', async () => {
    await lookInVain(0);
    webhook.answerAtLast(url, { desired: 9 });
    await eventually(() => expect(wakeUps.rings).toHaveLength(1));
    webhook.setConduct(url, { desired: 11 });
    expect(await look(minute)).toBe(11);
  });

  it('gives way to an answer that another process was given later', async () => {
    await lookInVain(0);
    webhook.answerAtLast(url, { desired: 9 });
    await eventually(() => expect(wakeUps.rings).toHaveLength(1));
    const remembered = { [url]: { desired: 5, atMs: startMs + 10 * second } };
    expect(await look(11 * second, { remembered })).toBe(5);
  });

  it('is one of a bounded number of questions; those beyond are put off', async () => {
    const urls = Array.from({ length: mostQuestions }, (_, index) => `${url}${index}`);
    for (const each of urls) {
      webhook.setConduct(each, 'never answers');
      await lookInVain(0, { url: each });
    }
    webhook.setConduct(url, { desired: 4 });
    const told = await reports(0);
    expect(told.answers).toEqual(new Map());
    expect(told.silences.get(url)).toEqual({
      failure: { detail: expect.stringContaining(`${mostQuestions} questions`), atMs: startMs },
      askedAtMs: null,
      askedAgainAtMs: startMs + 5 * second,
    });
    webhook.answerAtLast(urls[0]!, { desired: 1 });
    await eventually(() => expect(wakeUps.rings).toHaveLength(1));
    expect(await look(second)).toBe(4);
  });

  it('is let go when the process ends, which says nothing of it and rings for nobody', async () => {
    await lookInVain(0);
    answers.onApplicationShutdown();
    await eventually(() => expect(outcomes).toEqual(['canceled']));
    expect(wakeUps.rings).toEqual([]);
  });
});

it('is asked again where its answer of a moment ago does not hold', async () => {
  webhook.setConduct(url, { desired: 4 });
  const remembered = { [url]: { desired: 3, atMs: startMs - 50 } };
  expect(await look(0, { remembered, reuseForMs: 5 * second })).toBe(3);
  expect(await look(0, { remembered, reuseForMs: 5 * second, maxAnswerAgeSeconds: 0 })).toBe(4);
});
