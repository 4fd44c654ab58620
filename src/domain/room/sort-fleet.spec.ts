import { ago, limits, nowMs } from './health-facts.fixture';
import { aRoom } from './room.fixture';
import { sortFleet, type FleetFacts, type SortedFleet } from './sort-fleet';

type Changes = Parameters<typeof aRoom>[0];
const busy = { status: 'occupied', runningMatches: 1 } as const;
const failed = { status: 'error', statusSinceMs: ago(1), instance: { status: 'error' } } as const;
const draining = (drainReason: 'operator' | 'scale_down' | 'rollout', ms = 60_000) =>
  ({ version: 'v1.0.0', drainingSinceMs: ago(ms), drainReason }) as const;

function sort(rooms: Changes[], changes: Partial<FleetFacts> = {}): SortedFleet {
  return sortFleet({
    rooms: rooms.map((room, index) => aRoom({ id: `room-${index}`, version: 'v2.0.0', ...room })),
    replacedVersions: new Set(['v1.0.0']),
    nowMs,
    hearingSinceMs: 0,
    limits,
    ...changes,
  });
}

/** Where a single room is found. */
function placesOf(room: Changes, changes?: Partial<FleetFacts>): string[] {
  const { capacity, leaving, claimed, failed: failing, expired, drained, released } = sort([room], changes);
  const places = { capacity, leaving, claimed, failed: failing };
  return [
    ...Object.entries(places).flatMap(([place, rooms]) => (rooms.length > 0 ? [place] : [])),
    ...expired.map(({ reason }) => `expired: ${reason}`),
    ...drained.map(({ reason }) => `drained: ${reason}`),
    ...released.map(({ reason }) => `released: ${reason}`),
  ];
}

describe('sortFleet', () => {
  test.each<[string, Changes, string[]]>([
    ['a room is capacity, idle', {}, ['capacity']],
    ['a room is capacity, in use', busy, ['capacity']],
    ['an older room is, until it drains', { version: 'v1.0.0' }, ['capacity']],
    ['a validation room is nothing', { validation: true }, []],
    ['a room that goes is nothing any more', { status: 'terminating', statusSinceMs: nowMs }, []],
    ['a failed one stands apart', failed, ['failed']],
    ['one that is over expires', { status: 'terminated' }, ['expired: terminated']],
    ['one that drains for an operator is no capacity', { ...busy, ...draining('operator') }, []],
    ['and goes empty', draining('operator'), ['drained: drained']],
    ['one that drains for a rollout is in use until its match ends', { ...busy, ...draining('rollout') }, ['leaving']],
    ['and then goes', draining('rollout'), ['drained: rolling_update_replace']],
    ['one that fails meanwhile is not in use', { ...failed, runningMatches: 1, ...draining('rollout') }, []],
    [
      'one whose version is active again stays',
      { ...draining('rollout'), version: 'v2.0.0' },
      ['capacity', 'released: rollout'],
    ],
    [
      'and is failed, if it failed',
      { ...failed, ...draining('rollout'), version: 'v2.0.0' },
      ['failed', 'released: rollout'],
    ],
    ['a claimed one waits to be confirmed', draining('scale_down', 1), ['claimed']],
    ['a confirmed one goes, unless it is needed after all', draining('scale_down'), ['claimed', 'drained: scale_down']],
    ['a claimed one with a match stays', { ...busy, ...draining('scale_down') }, ['capacity', 'released: scale_down']],
    [
      'a draining one that falls silent expires',
      { ...draining('scale_down', 900_000), lastPingAtMs: ago(240_001) },
      ['expired: ping_timeout'],
    ],
  ])('%s', (_, room, places) => {
    expect(placesOf(room)).toEqual(places);
  });

  test.each<[string, Changes, string[]]>([
    ['ends the match of a rollout', { ...busy, ...draining('rollout') }, ['drained: drain_deadline']],
    ['ends the match of an operator', { ...busy, ...draining('operator') }, ['drained: drain_deadline']],
    [
      'ends none of a room that is one too many',
      { ...busy, ...draining('scale_down') },
      ['capacity', 'released: scale_down'],
    ],
    [
      'ends none of a version that is active again',
      { ...busy, ...draining('rollout'), version: 'v2.0.0' },
      ['capacity', 'released: rollout'],
    ],
    ['is not there yet', { ...busy, ...draining('rollout', 59_999) }, ['leaving']],
  ])('a drain deadline %s', (_, room, places) => {
    expect(placesOf(room, { limits: { ...limits, drainDeadlineMs: 60_000 } })).toEqual(places);
  });

  test('a deadline is looked for, and so is the end of a confirm delay', () => {
    const withDeadline = { limits: { ...limits, drainDeadlineMs: 61_000 } };
    expect(sort([{ ...busy, ...draining('rollout') }], withDeadline).looksAtMs).toEqual([nowMs + 1_000]);
    expect(sort([draining('scale_down', 4_000)]).looksAtMs).toEqual([nowMs + 6_000]);
    expect(sort([{ ...busy, ...draining('rollout') }]).looksAtMs).toEqual([]);
  });

  test('what falls silent together neither expires nor goes, and is looked at again', () => {
    const silent = { lastPingAtMs: ago(240_001) };
    const { expired, drained, capacity, massSilence, looksAtMs } = sort([
      ...[silent, silent, {}],
      { ...draining('operator', 200_000), lastPingAtMs: ago(130_000) },
    ]);
    expect({ expired, drained, capacity: capacity.length }).toEqual({ expired: [], drained: [], capacity: 3 });
    expect(massSilence).toMatchObject({ held: 2, pinging: 4 });
    expect(looksAtMs).toEqual([nowMs + 10_000]);
  });

  test('of what falls silent together a room without a match is given up at last, while others are heard', () => {
    const [silent, lost] = [{ lastPingAtMs: ago(960_000) }, { lastPingAtMs: ago(960_001) }];
    const expired = (...rooms: Changes[]) => sort(rooms).expired.map(({ id }) => id);
    expect(expired(silent, lost, { ...lost, ...busy }, {})).toEqual(['room-1']);
    // It is more likely that nobody hears any of them.
    expect(expired(lost, lost, lost)).toEqual([]);
  });
});
