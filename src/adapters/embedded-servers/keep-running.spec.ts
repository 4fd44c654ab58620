import { RecordedLog } from '../../../test/support/recorded-log';
import { eventually } from '../../../test/support/eventually';
import type { DomainError } from '../../domain/errors';
import { keepRunning, pauseBeforeRestart } from './keep-running';

describe('pauseBeforeRestart', () => {
  it('doubles up to five seconds, six times', () => {
    const pauses = [1, 2, 3, 4, 5, 6, 7].map(pauseBeforeRestart);
    expect(pauses).toEqual([200, 400, 800, 1_600, 3_200, 5_000, null]);
  });
});

class FakeServer {
  stops = 0;
  end: (how: string) => void = () => {};
  readonly ended = new Promise<string>((resolve) => (this.end = resolve));

  async stop(): Promise<void> {
    this.stops += 1;
    this.end('SIGTERM');
  }
}

describe('a server that is kept running', () => {
  let log: RecordedLog;
  let pauses: number[];
  let nowMs: number;
  let started: FakeServer[];
  let givenUp: DomainError[];
  let beforeRestart: (signal: AbortSignal) => void | Promise<void>;

  beforeEach(() => {
    log = new RecordedLog();
    pauses = [];
    nowMs = 0;
    started = [];
    givenUp = [];
    beforeRestart = () => {};
  });

  function keep(pause?: (ms: number, signal: AbortSignal) => Promise<unknown>) {
    const first = new FakeServer();
    started.push(first);
    return keepRunning(first, {
      code: 'embedded_redis',
      title: 'Redis',
      port: 6379,
      restart: async (signal) => {
        await beforeRestart(signal);
        const server = new FakeServer();
        started.push(server);
        return server;
      },
      onGivenUp: (error) => givenUp.push(error),
      logger: log,
      pause: pause ?? (async (ms) => pauses.push(ms)),
      nowMs: () => nowMs,
    });
  }

  const isStarted = (count: number) => eventually(() => expect(started).toHaveLength(count));
  const said = () => log.lines.filter(({ level }) => level !== 'debug').map(({ level, message }) => [level, message]);

  it('is started again when it ends, after what was left of it is gone', async () => {
    keep();
    beforeRestart = () => expect(started[0]?.stops).toBe(1);
    started[0]?.end('SIGKILL');
    await isStarted(2);
    expect([pauses, givenUp]).toEqual([[200], []]);
  });

  it('warns once for an outage of several attempts, and says when it is back', async () => {
    keep();
    let attempts = 0;
    beforeRestart = () => {
      attempts += 1;
      if (attempts < 4) throw new Error('not yet');
    };
    started[0]?.end('SIGKILL');
    await isStarted(2);
    await eventually(() =>
      expect(said()).toEqual([
        ['warn', 'an embedded server ended unexpectedly and is restarted'],
        ['info', 'an embedded server is back'],
      ]),
    );
    expect(log.lines[0]?.fields).toEqual({ server: 'Redis', port: 6379, how: 'SIGKILL' });
    expect(pauses).toEqual([200, 400, 800, 1_600]);
  });

  it('is given up, once, when no restart helps, and the last reason is told', async () => {
    keep();
    beforeRestart = () => {
      throw new Error('The disk is full.');
    };
    started[0]?.end('SIGKILL');
    await eventually(() => expect(givenUp).toHaveLength(1));
    expect(givenUp[0]).toMatchObject({
      code: 'embedded_redis.given_up',
      message: 'The embedded Redis was restarted 6 times and does not stay up. The last time: The disk is full.',
    });
    expect([pauses.length, started.length, said()]).toEqual([
      6,
      1,
      [['warn', 'an embedded server ended unexpectedly and is restarted']],
    ]);
  });

  it('is given up when it ends soon after each restart', async () => {
    keep();
    for (let count = 1; count <= 7; count += 1) {
      await isStarted(count);
      nowMs += 59_999;
      started[count - 1]?.end('exit code 1');
    }
    await eventually(() => expect(givenUp).toHaveLength(1));
    expect(givenUp[0]?.message).toMatch(/The last time: it ended with exit code 1\.$/);
  });

  it('is never given up when it was up for a minute each time', async () => {
    keep();
    for (let count = 1; count <= 9; count += 1) {
      await isStarted(count);
      nowMs += 60_000;
      started[count - 1]?.end('SIGKILL');
    }
    await isStarted(10);
    expect([new Set(pauses), givenUp]).toEqual([new Set([200]), []]);
  });

  it('is not started again when it is stopped', async () => {
    const kept = keep();
    await kept.stop();
    expect([started.length, started[0]?.stops, said()]).toEqual([1, 1, []]);
  });

  it('is not started again when it is stopped during a pause', async () => {
    const kept = keep((_ms, signal) => new Promise((resolve) => signal.addEventListener('abort', resolve)));
    started[0]?.end('SIGKILL');
    await eventually(() => expect(said()).toHaveLength(1));
    await kept.stop();
    // What is left of it, with its watchdog killed, is ended all the same.
    expect([started.length, started[0]?.stops, givenUp]).toEqual([1, 1, []]);
  });

  it('is stopped when it comes back after it was told to stop', async () => {
    const kept = keep();
    let letStart = (): void => {};
    beforeRestart = () => new Promise((resolve) => (letStart = resolve));
    const restarting = eventually(() => expect(pauses).toHaveLength(1));
    started[0]?.end('SIGKILL');
    await restarting;
    const stopped = kept.stop();
    letStart();
    await stopped;
    expect(started.map(({ stops }) => stops > 0)).toEqual([true, true]);
  });
});
