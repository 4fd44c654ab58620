import { RecordedLog } from '../../../test/support/recorded-log';
import { RecordedWakeUps } from '../../../test/support/recorded-wake-ups';
import { DomainError } from '../../domain/errors';
import type { RoomStatus } from '../../domain/room/room';
import type { Forwarder } from '../../domain/scheduler/scheduler';
import type { Metrics } from '../../ports/metrics';
import type { RoomAllocationStore } from '../../ports/room-allocation-store';
import type { Ping, PingOutcome, RoomStore, StatusSettings } from '../../ports/room-store';
import type { SchedulerSettings } from '../../ports/scheduler-store';
import type { SchedulerSettingsCache } from '../schedulers/scheduler-settings';
import type { HealthRings } from './health-rings';
import { RoomPingsService, type RoomPing } from './room-pings.service';

type Applied = Extract<PingOutcome, { outcome: 'applied' }>;

const aForwarder = (enabled: boolean): Forwarder => ({
  name: 'f',
  enabled,
  type: 'gRPC',
  address: 'f:1',
  options: { timeoutMs: 1_000, metadata: {} },
});

describe('a ping', () => {
  /** What is known of the scheduler, or why nothing can be found out. */
  let settings: SchedulerSettings | null | Error;
  /** What the store answers, or fails with. */
  let outcome: PingOutcome | Error;
  let stored: { ping: Ping; settings: StatusSettings }[];
  let failures: unknown[];
  let served: string[];
  /** What the schedulers' health is rung for. */
  let rung: string[];
  let serving: () => Promise<number>;
  let wakeUps: RecordedWakeUps;
  let log: RecordedLog;
  let pings: RoomPingsService;

  beforeEach(() => {
    settings = {
      name: 'arena',
      game: 'chess',
      maxMatches: 3,
      activeVersion: 'v1.0.0',
      isAutoscaled: false,
      forwarders: [],
      placement: { affinity: '', toleration: '' },
      isTerminating: false,
    };
    [stored, failures, served, rung, wakeUps, log] = [[], [], [], [], new RecordedWakeUps(), new RecordedLog()];
    outcome = applied('ready', 'ready');
    serving = async () => 1;
    const cache = {
      find: async () => {
        if (settings instanceof Error) throw settings;
        return settings;
      },
    } as unknown as SchedulerSettingsCache;
    const rooms = {
      applyPing: async (ping: Ping, to: StatusSettings) => {
        stored.push({ ping, settings: to });
        if (outcome instanceof Error) throw outcome;
        return outcome;
      },
    } as unknown as RoomStore;
    const allocations = {
      serveWaiting: (scheduler: string) => {
        served.push(scheduler);
        return serving();
      },
    } as unknown as RoomAllocationStore;
    const metrics = { pingFailed: (...failure: unknown[]) => failures.push(failure) } as unknown as Metrics;
    const healthRings = {
      roomLeft: (scheduler: string) => rung.push(`left ${scheduler}`),
      useChanged: (scheduler: string) => rung.push(`changed ${scheduler}`),
    } as unknown as HealthRings;
    pings = new RoomPingsService(cache, rooms, allocations, wakeUps, healthRings, metrics, log);
  });

  function applied(from: RoomStatus, to: RoomStatus, changes: Partial<Applied> = {}): Applied {
    const nothing = { validation: false, draining: false, openAllocations: 0, isAwaited: false };
    const alike = { isUsedOtherwise: false, hasLostMatch: false };
    return { outcome: 'applied', from, to, ...nothing, ...alike, ...changes };
  }

  const handle = (changes: Partial<RoomPing> = {}) =>
    pings.handlePing({
      scheduler: 'arena',
      room: 'room-1',
      status: 'ready',
      runningMatches: 0,
      metadata: null,
      ...changes,
    });
  const rings = () => [...wakeUps.rings.map(({ kind, scheduler }) => `${kind} ${scheduler}`), ...rung];

  it('goes to the store as it came, with what the scheduler says of its rooms', async () => {
    const said = { status: 'occupied', runningMatches: 2, metadata: { map: 'woods' } };
    expect(await handle({ ...said, listener: 'process-1' })).toMatchObject({ success: true });
    expect(stored).toEqual([
      {
        ping: {
          scheduler: 'arena',
          room: 'room-1',
          status: 'occupied',
          runningMatches: 2,
          metadata: '{"map":"woods"}',
          listener: 'process-1',
          resync: false,
        },
        settings: { maxMatches: 3 },
      },
    ]);
  });

  it('asks for a resync where a forwarder is enabled', async () => {
    const arena = settings as SchedulerSettings;
    for (const forwarders of [[], [aForwarder(false)], [aForwarder(false), aForwarder(true)]]) {
      settings = { ...arena, forwarders };
      await handle();
    }
    expect(stored.map(({ ping }) => ping.resync)).toEqual([false, false, true]);
    expect(stored.map(({ ping }) => [ping.metadata, ping.listener])).toEqual(new Array(3).fill([null, null]));
  });

  it('is answered with what the room is now', async () => {
    outcome = applied('ready', 'allocated', { draining: true, openAllocations: 2 });
    expect(await handle()).toEqual({ success: true, status: 'allocated', draining: true, openAllocations: 2 });
  });

  it.each(['', 'READY', 'unknown', 'invalid'])('with the word %p is refused', async (status) => {
    await expect(handle({ status })).rejects.toMatchObject({ code: 'ping.invalid_status' });
    expect(stored).toEqual([]);
  });

  it.each([-1, 2 ** 31])('with %p matches is refused', async (runningMatches) => {
    await expect(handle({ runningMatches })).rejects.toMatchObject({ code: 'ping.invalid_running_matches' });
    expect(stored).toEqual([]);
  });

  it.each<[string, PingOutcome]>([
    ['unknown_room', { outcome: 'unknown_room' }],
    ['refused', { outcome: 'refused', from: 'terminated' }],
  ])('that comes to nothing says %s, which is counted', async (reason, comesTo) => {
    outcome = comesTo;
    expect(await handle()).toEqual({ success: false, reason });
    expect(failures).toEqual([['arena', reason]]);
    expect(wakeUps.rings).toEqual([]);
  });

  it('of an unknown scheduler goes no further', async () => {
    settings = null;
    expect(await handle()).toEqual({ success: false, reason: 'unknown_scheduler' });
    expect([stored, failures]).toEqual([[], [[null, 'unknown_scheduler']]]);
  });

  it('that cannot be stored says so, in the log too', async () => {
    outcome = new DomainError('unavailable', 'room_store.unavailable', 'Redis is away');
    expect(await handle()).toEqual({ success: false, reason: 'store_error' });
    expect(failures).toEqual([['arena', 'store_error']]);
    expect(log.lines).toEqual([
      {
        level: 'warn',
        fields: { scheduler_name: 'arena', room_id: 'room-1', err: 'Redis is away' },
        message: 'a ping could not be stored',
      },
    ]);
  });

  it('is counted without the name that it said while nobody can tell whether there is such a scheduler', async () => {
    settings = new DomainError('unavailable', 'scheduler_store.unavailable', 'PostgreSQL is away');
    expect(await handle({ scheduler: 'made-up' })).toEqual({ success: false, reason: 'store_error' });
    expect(failures).toEqual([[null, 'store_error']]);
  });

  it('writes one line of many that fail alike', async () => {
    outcome = new DomainError('unavailable', 'room_store.unavailable', 'Redis is away');
    for (let time = 0; time < 100; time++) await handle();
    expect(failures).toHaveLength(100);
    expect(log.lines).toHaveLength(1);
    outcome = new Error('a defect');
    await handle();
    expect(log.lines.map(({ fields }) => fields.err)).toEqual(['Redis is away', 'a defect']);
  });

  it.each<[RoomStatus, RoomStatus, string[]]>([
    ['unready', 'ready', ['changed arena']],
    ['ready', 'occupied', ['changed arena']],
    ['allocated', 'occupied', ['changed arena']],
    ['active', 'occupied', ['changed arena']],
    ['occupied', 'ready', ['changed arena']],
    ['occupied', 'terminating', ['left arena']],
    ['ready', 'terminated', ['left arena']],
    ['ready', 'error', ['left arena']],
    ['terminating', 'terminating', []],
    ['occupied', 'occupied', []],
  ])(
    'that brings a room from %s to %s rings %j, so that one that leaves is replaced, and a fleet keeps its size',
    async (from, to, expected) => {
      outcome = applied(from, to);
      await handle();
      expect(rings()).toEqual(expected);
    },
  );

  it.each<[RoomStatus, RoomStatus, string[]]>([
    ['occupied', 'ready', ['left arena']],
    ['active', 'ready', ['left arena']],
    ['allocated', 'unready', ['left arena']],
    ['occupied', 'active', ['changed arena']],
    ['ready', 'ready', []],
  ])('that brings a draining room from %s to %s rings %j, so that an empty one goes', async (from, to, expected) => {
    outcome = applied(from, to, { draining: true });
    await handle();
    expect(rings()).toEqual(expected);
  });

  it.each<[string, Partial<Applied>, string[]]>([
    ['room', {}, ['changed arena']],
    ['room that lost its match', { hasLostMatch: true }, ['changed arena']],
    ['draining room', { draining: true }, ['changed arena']],
    ['draining room that lost its match', { draining: true, hasLostMatch: true }, ['left arena']],
    ['validation room', { validation: true, hasLostMatch: true }, []],
  ])(
    'that changes only how much a %s is used rings, though its status is the same: %o',
    async (_, changes, expected) => {
      for (const status of ['active', 'unready'] as const) {
        rung.length = 0;
        outcome = applied(status, status, { isUsedOtherwise: true, ...changes });
        await handle();
        expect(rings()).toEqual(expected);
      }
    },
  );

  it.each<[RoomStatus, string[]]>([
    ['unready', ['operations arena']],
    ['ready', []],
  ])('of a validation room that was %s and is ready rings %j, for the operation that waits', async (from, expected) => {
    outcome = applied(from, 'ready', { validation: true });
    await handle();
    expect(rings()).toEqual(expected);
  });

  it('serves those who wait for a room, and is answered before', async () => {
    await handle();
    expect(served).toEqual([]);
    outcome = applied('occupied', 'ready', { isAwaited: true });
    serving = () => new Promise(() => undefined);
    expect(await handle()).toMatchObject({ success: true, status: 'ready' });
    expect(served).toEqual(['arena']);
  });

  it('serves once more for all that free a room while those who wait are being served', async () => {
    const ends: (() => void)[] = [];
    serving = () => new Promise((resolve) => ends.push(() => resolve(1)));
    outcome = applied('occupied', 'ready', { isAwaited: true });
    for (let time = 0; time < 50; time++) await handle();
    await handle({ scheduler: 'other' });
    expect(served).toEqual(['arena', 'other']);
    serving = async () => 1;
    for (const end of ends) end();
    await new Promise(setImmediate);
    expect(served).toEqual(['arena', 'other', 'arena']);
  });

  it('is good also where those who wait cannot be served', async () => {
    outcome = applied('occupied', 'ready', { isAwaited: true });
    serving = () => Promise.reject(new Error('Redis is away'));
    expect(await handle()).toMatchObject({ success: true });
    await new Promise(setImmediate);
    expect(log.lines).toEqual([
      {
        level: 'warn',
        fields: { scheduler_name: 'arena', err: 'Redis is away' },
        message: 'callers that wait were not served',
      },
    ]);
  });
});
