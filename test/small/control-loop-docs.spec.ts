import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { desiredRooms } from '../../src/domain/autoscaling/desired-rooms';
import type { HealthBlock, HealthPlan } from '../../src/domain/room/health-plan';
import { estimateRolloutEnd } from '../../src/domain/rollout/estimate-rollout-end';
import { countFleet } from '../../src/domain/room/count-fleet';
import { autoscaled, buffer, fleet, nowMs, occupancy, plan } from '../../src/domain/room/health-facts.fixture';
import type { Room } from '../../src/domain/room/room';
import { surgeRooms } from '../../src/domain/rollout/surge-rooms';
import type { FleetSettings } from '../../src/domain/autoscaling/fleet-settings';
import type { SchedulerExtensions } from '../../src/domain/scheduler/scheduler';

/** What docs say in numbers is what the code computes. */
const read = (name: string): string => readFileSync(resolve(__dirname, '../../docs', name), 'utf8');
const autoscaling = read('autoscaling.md');
const rollouts = read('rollouts.md');

/** The cells of the table that follows a line, or whose head begins with that text. */
function tableAfter(text: string, start: string): string[][] {
  const lines = text.split('\n');
  const at = lines.findIndex((line) => line.startsWith(start));
  const from = lines.findIndex((line, index) => index >= at && line.startsWith('|'));
  const to = lines.findIndex((line, index) => index > from && !line.startsWith('|'));
  return lines.slice(from + 2, to).map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  );
}

const busy = { status: 'occupied', runningMatches: 1 } as const;
const inUseOf = (total: number, inUse: number): Room[] => [...fleet(inUse, busy, 'busy'), ...fleet(total - inUse)];

describe('docs/autoscaling.md', () => {
  test.each<[string, (share: number) => FleetSettings]>([
    ['### fixedBuffer', (amount) => autoscaled(buffer(amount))],
    ['### roomOccupancy', (share) => autoscaled(occupancy(share, 0.99))],
  ])('%s: the table holds', (heading, settingsOf) => {
    const rows = tableAfter(autoscaling, heading).map((row) => row.map(Number));
    expect(rows).toHaveLength(12);
    for (const [total = 0, inUse = 0, parameter = 0, wanted = 0, difference = 0] of rows) {
      const { desired } = desiredRooms(settingsOf(parameter), countFleet(inUseOf(total, inUse)));
      expect([total, inUse, parameter, desired, desired - total]).toEqual([
        total,
        inUse,
        parameter,
        wanted,
        difference,
      ]);
    }
  });

  test('the formulas of a schedule are those that are told', () => {
    const extensions: SchedulerExtensions = {
      autoscaling: {
        schedule: {
          windows: [{ cron: '0 18 * * 5', timezone: 'Europe/Berlin', durationSeconds: 21_600, min: 50, buffer: 0 }],
          base: { type: 'roomOccupancy', roomOccupancy: { readyTarget: 0.2, downThreshold: 0.99 } },
        },
      },
    };
    const settings = autoscaled({ type: 'schedule', parameters: {} }, { extensions });
    const rows = tableAfter(autoscaling, '| When');
    const hours = ['12:00', '18:30'];
    expect(rows.map(([when]) => when)).toEqual(hours.map((hour) => `Friday, ${hour} UTC`));
    for (const [index, [, formula, wanted]] of rows.entries()) {
      const said = desiredRooms(settings, countFleet(inUseOf(15, 12)), {
        nowMs: Date.parse(`2026-11-20T${hours[index]}:00Z`),
      });
      expect([`\`${said.formula}\``, String(said.desired)]).toEqual([formula, wanted]);
    }
  });

  test('what is told of a webhook that fails is what it says', () => {
    const url = 'http://forecast.games.svc/rooms';
    const extensions: SchedulerExtensions = {
      autoscaling: { webhook: { url, timeoutMs: 1_000, maxAnswerAgeSeconds: 300 } },
    };
    const failure = {
      detail: 'It answered with HTTP status 500, and 200 is an answer.',
      atMs: Date.parse('2026-11-27T17:59:58Z'),
    };
    const silence = { failure, askedAtMs: null, askedAgainAtMs: failure.atMs + 5_000 };
    const { notes } = desiredRooms(autoscaled({ type: 'webhook', parameters: {} }, { extensions }), countFleet([]), {
      nowMs: failure.atMs + 1_000,
      webhookAnswers: new Map([[url, { desired: 4, atMs: failure.atMs }]]),
      webhookSilences: new Map([[url, silence]]),
    });
    const [, told = ''] = /`(The webhook [^`]*)\.\.\.`/.exec(autoscaling) ?? [];
    expect(told).toContain('failed at');
    expect(notes[0]).toContain(told.replaceAll(/\s+/g, ' '));
  });

  test('every code is in the table, and nothing else', () => {
    const codes: Record<HealthBlock['code'] | 'not_looked_yet', true> = {
      not_looked_yet: true,
      rebuilding: true,
      paused: true,
      policy: true,
      rollback: true,
      mass_silence: true,
      breaker: true,
      ports: true,
      max: true,
      cooldown: true,
      threshold: true,
      stabilization: true,
      surge: true,
      matches: true,
      ready_buffer: true,
      limit: true,
      no_removable_room: true,
    };
    const told = tableAfter(autoscaling, '| `blockedBy`').map(([code = '']) => code.replaceAll('`', ''));
    expect(told.sort()).toEqual(Object.keys(codes).sort());
  });

  test('the example of an explanation is what a look comes to', () => {
    const [, json = ''] = /```json\n(\{\n {2}"seenAt"[^`]*)```/.exec(autoscaling) ?? [];
    const told = JSON.parse(json) as { formula: string; desired: number; blockedBy: HealthBlock[] };
    const planned = look(inUseOf(20, 18), autoscaled(buffer(5), { max: 20 }));
    expect(told).toMatchObject({ formula: planned.formula, desired: planned.desired, blockedBy: planned.blockedBy });
    expect(planned.add + planned.claimIds.length).toBe(0);
  });

  test('the threshold holds 200 rooms, of which 80 are in use', () => {
    const planned = look(inUseOf(200, 80), autoscaled(occupancy(0.5, 0.6)));
    expect(planned).toMatchObject({ desired: 160, claimIds: [], blockedBy: [{ code: 'threshold' }] });
  });

  test('the formula of rooms for several matches is the one that is told', () => {
    const rooms = [...fleet(15, { status: 'active', runningMatches: 2 })];
    const settings = autoscaled(occupancy(0.25, 0.99), { matchAllocation: { maxMatches: 3 } });
    const { formula } = desiredRooms(settings, countFleet(rooms));
    expect(autoscaling).toContain(formula.replace('roomOccupancy: ', ''));
  });
});

describe('docs/rollouts.md', () => {
  test('the walk of a fleet in use is the planner’s', () => {
    const rows = tableAfter(rollouts, '| Look');
    let rooms = [...fleet(95, { ...busy, version: 'v1.0.0' }, 'busy'), ...fleet(5, { version: 'v1.0.0' }, 'old')];
    const walk = rows.map((_, index) => {
      const planned = look(rooms, autoscaled(buffer(5), { max: 100, version: 'v2.0.0' }), ['v1.0.0']);
      const { outdated = 0, leaving = 0, updated = 0 } = planned.rollout ?? {};
      const free = rooms.filter(({ status, drainReason }) => status === 'ready' && drainReason === null).length;
      const empty = planned.drainIds.filter((id) => id.startsWith('old')).length;
      const does = [
        ...(planned.add > 0 ? [`starts ${planned.add}`] : []),
        ...(planned.drainIds.length > 0
          ? [`drains ${planned.drainIds.length}${empty > 0 ? `, ${empty} of them empty` : ''}`]
          : []),
        ...(planned.blockedBy.some(({ code }) => code === 'matches') ? ['waits for matches'] : []),
      ];
      const drained = new Set(planned.drainIds);
      rooms = rooms
        .map((room) =>
          drained.has(room.id) ? { ...room, drainingSinceMs: nowMs, drainReason: 'rollout' as const } : room,
        )
        .filter(({ status, drainReason }) => status !== 'ready' || drainReason === null);
      rooms.push(...fleet(planned.add, { version: 'v2.0.0' }, `new-${index}`));
      return [index + 1, outdated, leaving, updated, free, does.join(', ')].map(String);
    });
    expect(walk).toEqual(rows);

    // The example of the route is the last of these looks.
    const { rollout, blockedBy } = look(rooms, autoscaled(buffer(5), { max: 100, version: 'v2.0.0' }), ['v1.0.0']);
    const { outdated, leaving, starting, updated, upper } = rollout ?? {};
    expect(rolloutExample()).toMatchObject({
      rooms: { outdated, leavingWithMatch: leaving, starting, updated, mostAtOnce: upper },
      waitsFor: blockedBy,
    });
  });

  test('a surge is rounded as it says', () => {
    expect(rollouts).toContain('`25%` of 100 are 25, of 10 are 3, `7%` of');
    const told: [string, number][] = [
      ['25%', 100],
      ['25%', 10],
      ['7%', 100],
      ['10%', 2],
    ];
    expect(told.map(([surge, base]) => surgeRooms(surge, base))).toEqual([25, 3, 7, 1]);
  });

  test('the example of a rollout fits together', () => {
    const told = rolloutExample();
    const { outdated, leavingWithMatch, updated } = told.rooms;
    const left = outdated + leavingWithMatch;
    expect(updated / (updated + left)).toBe(told.progress);
    const seenAtMs = Date.parse(told.seenAt);
    const samples = [60, 30, 0].map((ageSeconds) => ({
      atMs: seenAtMs - ageSeconds * 1000,
      left: left + ageSeconds / 12,
    }));
    const endsAtMs = estimateRolloutEnd({ samples, left, nowMs: seenAtMs, isPaused: false, latestEndMs: null });
    expect(endsAtMs).toBe(Date.parse(told.estimatedEndAt));
  });
});

function look(rooms: Room[], scheduler: ReturnType<typeof autoscaled>, replaced: string[] = []): HealthPlan {
  return plan({ rooms, scheduler, replacedVersions: new Set(replaced) });
}

function rolloutExample() {
  const [, json = ''] = /```json\n(\{\n {2}"phase"[^`]*)```/.exec(rollouts) ?? [];
  return JSON.parse(json) as Record<'estimatedEndAt' | 'seenAt', string> & {
    progress: number;
    rooms: Record<'outdated' | 'leavingWithMatch' | 'updated', number>;
  };
}
