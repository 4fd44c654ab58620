import { eventually } from '../../test/support/eventually';
import { RecordedLog } from '../../test/support/recorded-log';
import { LoopLeases } from '../ports/loop-leases';
import { holdLoopLease } from './hold-loop-lease';

/** Leases in this process; a test lets them fail, hang or belong to someone else. */
class MemoryLoopLeases extends LoopLeases {
  holder: { owner: string; expiresAtMs: number } | null = null;
  failure: 'none' | 'throws' | 'hangs' = 'none';
  renewals = 0;

  override async acquire(_name: string, owner: string, ttlMs: number): Promise<{ token: string } | null> {
    if (this.failure === 'throws') throw new Error('PostgreSQL is away');
    if (this.failure === 'hangs') return new Promise(() => undefined);
    const isFree = this.holder === null || this.holder.owner === owner || this.holder.expiresAtMs < performance.now();
    if (!isFree) return null;
    this.renewals++;
    this.holder = { owner, expiresAtMs: performance.now() + ttlMs };
    return { token: '1' };
  }

  override async release(_name: string, owner: string): Promise<void> {
    if (this.holder?.owner === owner) this.holder = null;
  }
}

const ttlMs = 150;

describe('holding the lease of a loop', () => {
  let leases: MemoryLoopLeases;
  let log: RecordedLog;
  let stopping: AbortController;
  let loops: Promise<void>[];
  let events: string[];

  beforeEach(() => {
    leases = new MemoryLoopLeases();
    log = new RecordedLog();
    stopping = new AbortController();
    loops = [];
    events = [];
  });
  afterEach(async () => {
    leases.failure = 'none';
    stopping.abort();
    await Promise.all(loops);
  });

  const untilAborted = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

  function hold(owner: string, work: (signal: AbortSignal) => Promise<void> = untilAborted, signal = stopping.signal) {
    const loop = holdLoopLease(leases, { name: 'loop', owner, ttlMs }, log, signal, async (held) => {
      events.push(`${owner} begins`);
      try {
        await work(held);
      } finally {
        events.push(`${owner} ends`);
      }
    });
    loops.push(loop);
    return loop;
  }

  it('runs the work in one process, and in the next one when that stops', async () => {
    const first = new AbortController();
    const firstLoop = hold('first', untilAborted, first.signal);
    await eventually(() => expect(events).toEqual(['first begins']));
    void hold('second');
    await eventually(() => expect(leases.renewals).toBeGreaterThan(3));
    expect(events).toEqual(['first begins']);
    first.abort();
    await firstLoop;
    await eventually(() => expect(events).toEqual(['first begins', 'first ends', 'second begins']));
  });

  it('stops the work when another process took the lease', async () => {
    void hold('first');
    await eventually(() => expect(events).toEqual(['first begins']));
    leases.holder = { owner: 'other', expiresAtMs: Infinity };
    await eventually(() => expect(events).toEqual(['first begins', 'first ends']));
    expect(leases.holder.owner).toBe('other');
  });

  it.each(['throws', 'hangs'] as const)(
    'stops the work before its lease runs out when renewing %s',
    async (failure) => {
      void hold('first');
      await eventually(() => expect(events).toEqual(['first begins']));
      const heldUntilMs = leases.holder!.expiresAtMs;
      leases.failure = failure;
      await eventually(() => expect(events).toEqual(['first begins', 'first ends']), { everyMs: 1 });
      // The renewal that may have been on its way counts from when it was asked.
      expect(performance.now()).toBeLessThan(heldUntilMs + ttlMs / 3 + 30);
      leases.failure = 'none';
    },
  );

  it('begins again when the work failed, without spinning', async () => {
    let failures = 2;
    const startedAt = performance.now();
    void hold('first', (signal) => (failures-- > 0 ? Promise.reject(new Error('broken')) : untilAborted(signal)));
    await eventually(() => expect(events.at(-1)).toBe('first begins'));
    await eventually(() => expect(events).toHaveLength(5));
    expect(performance.now() - startedAt).toBeGreaterThan((2 * ttlMs) / 3 - 5);
    expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(2);
  });

  it('waits for the lease, and says so, while it cannot be asked for', async () => {
    leases.failure = 'throws';
    void hold('first');
    await eventually(() =>
      expect(log.lines[0]).toMatchObject({ level: 'warn', fields: { loop: 'loop', err: 'PostgreSQL is away' } }),
    );
    leases.failure = 'none';
    await eventually(() => expect(events).toEqual(['first begins']));
  });

  it('gives the lease back when it is told to stop', async () => {
    const loop = hold('first');
    await eventually(() => expect(leases.holder?.owner).toBe('first'));
    stopping.abort();
    await loop;
    expect(leases.holder).toBeNull();
    expect(events).toEqual(['first begins', 'first ends']);
  });
});
