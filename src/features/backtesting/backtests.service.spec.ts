import type { FleetModel } from '../../domain/simulation/simulated-fleet';
import { BacktestsService, boundsOfRequests, type BacktestBounds, type BacktestRequest } from './backtests.service';

const minuteMs = 60_000;

function aService(bounds: Partial<BacktestBounds> = {}): BacktestsService {
  return new BacktestsService({
    limits: {
      pingTimeoutMs: 4 * minuteMs,
      initializationTimeoutMs: 2 * minuteMs,
      deletionTimeoutMs: 2 * minuteMs,
      drainConfirmMs: 10_000,
    },
    addLimit: 1000,
    removeLimit: 50,
    bounds: { ...boundsOfRequests, ...bounds },
  });
}

const scheduler: FleetModel['scheduler'] = { roomsReplicas: 30, maxSurge: '25%', matchAllocation: { maxMatches: 1 } };
const webhook = { url: 'http://forecast', timeoutMs: 1, maxAnswerAgeSeconds: 1 };
const asked: FleetModel['scheduler'] = {
  ...scheduler,
  autoscaling: { enabled: true, min: 1, max: 50, cooldown: 0, policy: { type: 'webhook', parameters: {} } },
  extensions: { autoscaling: { webhook } },
};

function aRequest(changes: Partial<BacktestRequest> = {}): BacktestRequest {
  return {
    policies: [{ name: 'thirty', scheduler }],
    load: [
      { atMs: 0, matches: 10 },
      { atMs: 120 * minuteMs, matches: 30 },
    ],
    startDelayMs: minuteMs,
    matchLengthMs: 10 * minuteMs,
    lookIntervalMs: 30_000,
    seed: 1,
    ...changes,
  };
}

describe('BacktestsService', () => {
  test('answers a result for each policy, in their order', async () => {
    const policies = [
      { name: 'one', scheduler },
      { name: 'two', scheduler: { ...scheduler, roomsReplicas: 5 } },
    ];
    const outcomes = await aService().run(aRequest({ policies }));
    expect(outcomes.map(({ name, peakRooms }) => [name, peakRooms])).toEqual([
      ['one', 30],
      ['two', 5],
    ]);
    expect(outcomes[0]!.refused).toBe(0);
    expect(outcomes[1]!.refused).toBeGreaterThan(0);
  });

  test('webhooks are not asked, and the result says so', async () => {
    const [outcome] = await aService().run(aRequest({ policies: [{ name: 'asks', scheduler: asked }] }));
    expect(outcome).toMatchObject({ peakRooms: 30, notes: [expect.stringContaining('webhooks are not asked')] });
  });

  test.each<[string, Partial<BacktestBounds>, Partial<BacktestRequest>, string]>([
    ['no policy', {}, { policies: [] }, 'at least one policy'],
    ['too many policies', { policies: 0 }, {}, '1 policies, and 0 are the most'],
    ['too many points', { points: 1 }, {}, '2 points, and 1 are the most'],
    ['too many looks', { looks: 239 }, {}, '240 looks at the fleet, and 239 are the most'],
    ['too many matches', { matches: 29 }, {}, 'rises to 30 matches, and 29 are the most'],
    ['a match of no length', {}, { matchLengthMs: NaN }, 'must be a second or more'],
    ['an interval of nothing', {}, { lookIntervalMs: 0 }, 'must be a second or more'],
    ['too large a fleet', { rooms: 20 }, {}, 'more than 20 rooms'],
  ])('refuses %s', async (_, bounds, changes, message) => {
    await expect(aService(bounds).run(aRequest(changes))).rejects.toThrow(message);
  });

  describe('of one that takes long', () => {
    const long = aRequest({
      load: [
        { atMs: 0, matches: 100 },
        { atMs: 12 * 60 * minuteMs, matches: 100 },
      ],
      policies: [{ name: 'long', scheduler: { ...scheduler, roomsReplicas: 150 } }],
    });

    test('others get their turn all the while, and nobody else a backtest', async () => {
      const service = aService();
      const turns: string[] = [];
      const running = service.run(long).then(() => turns.push('done'));
      await new Promise(setImmediate);
      await expect(service.run(aRequest())).rejects.toMatchObject({ code: 'backtest.busy' });
      while (!turns.includes('done')) {
        turns.push('other');
        await new Promise(setImmediate);
      }
      await running;
      expect(turns.length).toBeGreaterThan(5);
      await expect(service.run(aRequest())).resolves.toHaveLength(1);
    });

    test('whoever hangs up ends it', async () => {
      const hangUp = new AbortController();
      const running = aService().run(long, hangUp.signal);
      hangUp.abort();
      await expect(running).rejects.toMatchObject({ code: 'backtest.canceled' });
    });

    test('too much computing ends it', async () => {
      await expect(aService({ roomsLookedAt: 1000 }).run(long)).rejects.toThrow(/too much computing with long/);
    });
  });
});
