import type { Room } from '../../src/domain/room/room';
import { earlyEndAgeMs } from '../../src/domain/room/start-back-off';
import type { SchedulerDefinition } from '../../src/domain/scheduler/scheduler';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { FakeRuntime } from '../support/fake-runtime';
import {
  historyOf,
  noPing,
  openFleetWorker,
  roomLimits,
  statusSettings,
  type FleetWorker,
} from '../support/fleet-worker';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from '../support/open-redis-room-store';

const name = 'arena';
const wanted = 8;
/** 25 % of them. */
const surge = 2;

let postgres: PostgresUnderTest;
let redis: RedisRoomStoreUnderTest;
let runtime: FakeRuntime;
let worker: FleetWorker;
/** Why rooms ended by themselves. */
let ends: Map<string, string>;
/** Rooms in which somebody plays. */
let playing: Set<string>;

beforeAll(async () => {
  postgres = await openPostgres();
  redis = await openRedisRoomStore();
}, 60_000);
afterAll(() => Promise.all([postgres?.close(), redis?.close()]));
beforeEach(async () => {
  await postgres.clear();
  await redis.loseEverything();
  runtime = new FakeRuntime({ endsAtOnce: true });
  playing = new Set();
  ends = new Map();
  worker = openFleetWorker({ stores: postgres, rooms: redis.store, hostPorts: redis.hostPorts, runtime });
  await redis.store.markSynced();
});

const image = (version: string): Partial<SchedulerDefinition> => {
  const definition = aSchedulerDefinition({ roomsReplicas: wanted });
  const containers = definition.spec.containers.map((container) => ({ ...container, image: `arena:${version}` }));
  return { ...definition, spec: { ...definition.spec, containers } };
};

const fleet = async (): Promise<Room[]> =>
  (await redis.store.readFleet(name)).rooms.filter(({ validation }) => !validation);
const isUp = ({ status, drainingSinceMs }: Room) => status === 'ready' && drainingSinceMs === null;
const version = async () => (await worker.schedulers.getScheduler(name)).version;
const operations = async () =>
  (await postgres.operations.list(name, { stage: 'final', order: 'asc', page: 1, perPage: 100 })).operations;

/** What the watcher and the pings of all rooms bring into the store, a ping interval later. */
async function oneIntervalLater(begin: (room: string, version: string) => void): Promise<void> {
  await redis.passTime(roomLimits.drainConfirmMs);
  await postgres.sql(`UPDATE maestro.schedulers SET activated_at = activated_at - $1 * interval '1 ms'`, [
    roomLimits.drainConfirmMs,
  ]);
  await redis.store.markHearing(1_000_000_000);
  for (const { id, status, version: of } of await runtime.listInstances(name)) if (status === 'pending') begin(id, of);
  const instances = await runtime.listInstances(name);
  for (const instance of instances) {
    await redis.store.applyInstance(instance, statusSettings, { adopt: false, authoritative: true });
    if (instance.status !== 'ready') continue;
    const ping = playing.has(instance.id)
      ? ({ status: 'occupied', runningMatches: 1 } as const)
      : ({ status: 'ready' } as const);
    await redis.store.applyPing({ ...noPing, ...ping, scheduler: name, room: instance.id }, statusSettings);
  }
  for (const { id } of await fleet()) {
    if (!instances.some((instance) => instance.id === id)) await redis.store.endRoom(name, id, ends.get(id) ?? '');
  }
}

/** Rooms that count against the surge: what is over, or empty and about to go, does not. */
const stands = ({ status, drainingSinceMs }: Room): boolean =>
  status !== 'terminating' && (drainingSinceMs === null || status === 'occupied');

/** Looks and works until nothing is left to do now. */
async function settle(): Promise<void> {
  for (let looks = 0; looks < 10; looks++) {
    await worker.healthCycle.look(name);
    if (!(await postgres.operations.isBusy(name))) return;
    await worker.runner.drainDue(name);
  }
}

const comeUp = (id: string): void => runtime.markReady(id);
const crash = (id: string): void => {
  runtime.kill(id);
  ends.set(id, 'exited with code 3');
};

/** Intervals go by until it is so; `each` looks at the fleet after each of them. */
async function until(
  isSo: () => Promise<boolean>,
  { begin = comeUp, each }: { begin?: (id: string, version: string) => void; each?: (rooms: Room[]) => void } = {},
): Promise<void> {
  for (let intervals = 0; intervals < 30; intervals++) {
    await oneIntervalLater(begin);
    each?.(await fleet());
    await settle();
    each?.(await fleet());
    if (await isSo()) return;
  }
  throw new Error('it does not come to that');
}

async function created(changes: Partial<SchedulerDefinition> = {}): Promise<void> {
  await worker.schedulers.createScheduler(name, { ...aSchedulerDefinition(image('1')), ...changes });
  await worker.runner.drain(name);
  await until(async () => (await fleet()).filter(isUp).length === wanted);
}

/** Orders a version with another image; its validation room comes up, and the version is switched. */
async function switchTo(label: string, changes: Partial<SchedulerDefinition> = {}): Promise<void> {
  await worker.schedulers.createNewVersion(name, { ...aSchedulerDefinition(image(label)), ...changes });
  const before = await version();
  await worker.runner.drain(name);
  for (const { id, status } of await runtime.listInstances(name)) {
    if (status !== 'pending') continue;
    comeUp(id);
    const [instance] = (await runtime.listInstances(name)).filter((each) => each.id === id);
    await redis.store.applyInstance(instance!, statusSettings, { adopt: false, authoritative: false });
    await redis.store.applyPing({ ...noPing, scheduler: name, room: id, status: 'ready' }, statusSettings);
  }
  await worker.runner.drain(name);
  expect(await version()).not.toBe(before);
}

describe('a major version', () => {
  it('takes the place of the one before: with the surge, never below the wanted number, and without a look back', async () => {
    await created();
    await switchTo('2');
    const seen = { most: 0, fewestUp: Infinity };
    const note = (rooms: Room[]): void => {
      seen.most = Math.max(seen.most, rooms.filter(stands).length);
      seen.fewestUp = Math.min(seen.fewestUp, rooms.filter(isUp).length);
    };
    await until(async () => (await fleet()).every((room) => room.version === 'v2.0.0'), { each: note });
    expect(await fleet()).toHaveLength(wanted);
    expect(seen).toEqual({ most: wanted + surge, fewestUp: wanted });
    expect(await worker.registry.metrics()).toContain(
      'maestro_worker_rooms_to_replace{game="arena",scheduler="arena"} 0',
    );
    const removals = (await operations()).filter(({ definition }) => definition === 'remove_rooms');
    expect(new Set(removals.map(({ input }) => (input as { reason: string }).reason))).toEqual(
      new Set(['rolling_update_replace']),
    );
    // No scale-down: the next one waits for no cooldown.
    expect((await worker.schedulers.getScheduler(name)).lastDownscaleAt).toBeNull();
  }, 60_000);

  it('drains a room with a match, which goes when that is over, and not before', async () => {
    await created();
    const [occupied] = (await fleet()).map(({ id }) => id);
    playing.add(occupied!);
    await oneIntervalLater(comeUp);
    await switchTo('2');
    await until(async () => {
      const [room, ...others] = (await fleet()).sort((one) => (one.id === occupied ? -1 : 1));
      return room?.drainReason === 'rollout' && others.every((each) => each.version === 'v2.0.0');
    });
    expect(await redis.store.getRoom(name, occupied!)).toMatchObject({ status: 'occupied', version: 'v1.0.0' });
    for (let intervals = 0; intervals < 5; intervals++) {
      await oneIntervalLater(comeUp);
      await settle();
    }
    expect(await redis.store.getRoom(name, occupied!)).toMatchObject({ status: 'occupied' });
    expect(await worker.records.read(name)).toMatchObject({
      rollout: { outdated: 0, leaving: 1 },
      blockedBy: [{ code: 'matches' }],
      inputs: { replacedVersions: ['v1.0.0'] },
      memory: { rolloutSamples: [{ atMs: expect.any(Number), left: wanted }] },
    });
    playing.clear();
    await until(async () => (await redis.store.getRoom(name, occupied!)) === null);
    const removal = (await operations()).findLast(({ definition }) => definition === 'remove_rooms')!;
    expect(removal).toMatchObject({
      input: { roomIds: [occupied], reason: 'rolling_update_replace' },
      reason: '1 room of replaced versions was drained, and is empty',
    });
    await until(async () => (await worker.records.read(name))!.rollout === null);
    expect((await fleet()).map((room) => room.version)).toEqual(Array(wanted).fill('v2.0.0'));
    expect((await worker.records.read(name))!.memory.rolloutSamples).toEqual([]);
  }, 60_000);

  it('that is taken back by its operator leaves the old rooms that still drain where they are', async () => {
    await created();
    const all = (await fleet()).map(({ id }) => id);
    for (const id of all) playing.add(id);
    await oneIntervalLater(comeUp);
    await switchTo('2');
    await until(async () => (await fleet()).some(({ drainReason }) => drainReason === 'rollout'));
    await worker.schedulers.switchActiveVersion(name, 'v1.0.0');
    await worker.runner.drain(name);
    await settle();
    const old = (await fleet()).filter((room) => room.version === 'v1.0.0');
    expect(old.map(({ id }) => id).sort()).toEqual(all.sort());
    expect(old.filter(({ drainReason }) => drainReason !== null)).toEqual([]);
  }, 60_000);

  it('whose difference is minor replaces no room', async () => {
    await created();
    const before = (await fleet()).map(({ id }) => id);
    await worker.schedulers.patchScheduler(name, { maxSurge: '5' });
    await worker.runner.drain(name);
    expect(await version()).toBe('v1.1.0');
    await settle();
    await oneIntervalLater(comeUp);
    await settle();
    expect((await fleet()).map(({ id }) => id)).toEqual(before);
    expect(await worker.records.read(name)).toMatchObject({ version: 'v1.1.0', rollout: null });
  }, 60_000);
});

describe('a version whose rooms keep failing', () => {
  const failing =
    (of: string) =>
    (id: string, its: string): void =>
      its === of ? crash(id) : comeUp(id);

  it('is rolled back by itself, with the reason where people look for it', async () => {
    await created();
    const before = (await fleet()).map(({ id }) => id);
    await switchTo('2');
    await until(async () => (await version()) === 'v1.0.0', { begin: failing('v2.0.0') });
    const switches = (await operations()).filter(({ definition }) => definition === 'switch_active_version');
    const rollback = switches.at(-1)!;
    expect(rollback).toMatchObject({
      status: 'finished',
      actor: 'health_controller',
      input: { newActiveVersion: 'v1.0.0' },
      reason: expect.stringMatching(/^version v2\.0\.0 is rolled back: \d+ of \d+ .*exited with code 3/),
    });
    const cycle = (await operations()).findLast(
      ({ definition, reason }) => definition === 'health_controller' && reason.includes('exited with code 3'),
    )!;
    expect(await historyOf(postgres, cycle)).toContain(
      `created operation (id: ${rollback.id}) to go back to version v1.0.0.`,
    );
    expect(worker.log.lines.filter(({ level }) => level === 'warn')).toContainEqual(
      expect.objectContaining({ message: 'rooms of a new version keep failing: it is rolled back' }),
    );
    await until(async () => (await fleet()).filter(isUp).length === wanted, { begin: failing('v2.0.0') });
    expect((await fleet()).every((room) => room.version === 'v1.0.0')).toBe(true);
    expect((await fleet()).map(({ id }) => id).filter((id) => before.includes(id)).length).toBe(wanted);
    expect(await postgres.schedulers.readAutomation(name)).toMatchObject({ isBroughtBack: true });
  }, 60_000);

  it('is rolled back to what was active before the switch to it', async () => {
    await created();
    for (const label of ['2', '3']) {
      await switchTo(label);
      await until(async () => (await fleet()).every((room) => room.version === `v${label}.0.0`));
    }
    await worker.schedulers.switchActiveVersion(name, 'v2.0.0');
    await worker.runner.drain(name);
    expect(await version()).toBe('v2.0.0');
    await until(async () => (await version()) !== 'v2.0.0', { begin: failing('v2.0.0') });
    expect(await version()).toBe('v3.0.0');
  }, 60_000);

  it('is rolled back also where its rooms come up well, and crash long after', async () => {
    await created();
    // It is not over before they do.
    for (const { id } of (await fleet()).slice(0, wanted / 2)) playing.add(id);
    await oneIntervalLater(comeUp);
    await switchTo('2');
    const crashed = new Set<string>();
    const crashLate = (rooms: Room[]): void => {
      for (const { id, version: of, status, createdAtMs } of rooms) {
        const isOld = Date.now() - createdAtMs > 2 * earlyEndAgeMs;
        if (of !== 'v2.0.0' || status !== 'ready' || !isOld || crashed.has(id)) continue;
        crashed.add(id);
        crash(id);
      }
    };
    await until(async () => (await version()) === 'v1.0.0', { each: crashLate });
    expect((await redis.store.readEarlyEnds(name)).count).toBe(0);
    const switches = (await operations()).filter(({ definition }) => definition === 'switch_active_version');
    expect(switches.at(-1)).toMatchObject({
      actor: 'health_controller',
      reason: expect.stringContaining('exited with code 3'),
    });
  }, 60_000);

  it('goes on failing where the scheduler wants no rollback', async () => {
    const extensions = { rollout: { automaticRollback: false } };
    await created({ extensions });
    await switchTo('2', { extensions });
    await expect(until(async () => (await version()) === 'v1.0.0', { begin: failing('v2.0.0') })).rejects.toThrow(
      'it does not come to that',
    );
    expect((await fleet()).filter(isUp).length).toBe(wanted);
  }, 60_000);

  it('is left to whoever changes the version already', async () => {
    await created();
    await switchTo('2');
    const waiting = (await postgres.operations.insert({
      scheduler: name,
      definition: 'switch_active_version',
      input: { newActiveVersion: 'v2.0.0' },
      actor: 'api',
    }))!;
    await postgres.operations.wait((await postgres.operations.claimNext(name, 'other', 60_000))!, 1_000_000);
    await expect(until(async () => (await version()) === 'v1.0.0', { begin: failing('v2.0.0') })).rejects.toThrow(
      'it does not come to that',
    );
    expect((await postgres.operations.get(name, waiting.id))?.operation.status).toBe('in_progress');
    expect((await fleet()).filter(isUp).length).toBe(wanted);
  }, 60_000);

  it('that is not the first to differ from the rooms before is rolled back past its minor versions', async () => {
    await created();
    await switchTo('2');
    await worker.schedulers.patchScheduler(name, { maxSurge: '3' });
    await worker.runner.drain(name);
    expect(await version()).toBe('v2.1.0');
    await until(async () => (await version()) === 'v1.0.0', { begin: failing('v2.1.0') });
  }, 60_000);

  it('that was itself brought back is left in peace', async () => {
    await created();
    await switchTo('2');
    await postgres.sql(`UPDATE maestro.schedulers SET brought_back_version = version`);
    await expect(until(async () => (await version()) !== 'v2.0.0', { begin: crash })).rejects.toThrow();
    expect(await version()).toBe('v2.0.0');
  }, 60_000);

  it('is not judged by how it failed before, when it is tried once more', async () => {
    await created();
    await switchTo('2');
    await until(async () => (await version()) === 'v1.0.0', { begin: failing('v2.0.0') });
    await worker.schedulers.switchActiveVersion(name, 'v2.0.0');
    await worker.runner.drain(name);
    await until(async () => (await fleet()).every((room) => room.version === 'v2.0.0'));
    expect(await version()).toBe('v2.0.0');
  }, 60_000);
});
