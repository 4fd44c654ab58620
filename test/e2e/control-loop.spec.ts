import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eagerRoom, schedulerRequest } from '../support/cluster-schedulers';
import { eventually } from '../support/eventually';
import { MaestroCluster, hastyTimes } from '../support/maestro-cluster';
import { isAlive } from '../support/maestro-process';
import { PlayedFleet, hasMatch, isFree, type PlayedRoom, type RoomView } from '../support/played-fleet';
import type { WorkerPool } from '../support/worker-pool';

const seconds = 1_000;
/** Each story ends within seconds; a busy machine may take its time. */
const storyMs = 150 * seconds;

interface SchedulerInfo {
  name: string;
  roomsReady: number;
  roomsOccupied: number;
  roomsPending: number;
  roomsTerminating: number;
  autoscaling: { enabled: boolean; min: number; max: number } | null;
}

const ids = (rooms: readonly { id: string }[]): string[] => rooms.map(({ id }) => id).sort();
/** A room that is given up before its end is no part of the fleet any more. */
const isStanding = (room: RoomView): boolean =>
  !room.validation && !['terminating', 'terminated'].includes(room.status) && (!room.draining || hasMatch(room));
const atLeastFree = (rooms: readonly RoomView[], fewest: number): string[] =>
  rooms.filter(isFree).length < fewest ? [`fewer than ${fewest} rooms are free`] : [];
const versions = (rooms: readonly RoomView[]): string[] => [...new Set(rooms.map(({ version }) => version))].sort();

/** What Maestro decides by itself, acted on: real roles, real rooms, and people who play there. */
describe('the control loop', () => {
  let cluster: MaestroCluster;
  let workers: WorkerPool;
  let fleet: PlayedFleet;
  const fleets: PlayedFleet[] = [];

  beforeAll(async () => {
    cluster = await MaestroCluster.start();
    workers = await cluster.startWorkers(2, {
      ...hastyTimes,
      // Rooms ping every half a second.
      MAESTRO_SERVICES_ROOMMANAGER_ROOMDRAINCONFIRMMILLIS: '1000',
    });
  }, 90 * seconds);

  afterAll(async () => {
    // Also of a story that failed.
    await Promise.all(fleets.map((each) => each.end()));
    await cluster.stop();
  }, 60 * seconds);

  const begin = (name: string): void => {
    fleet = new PlayedFleet(cluster, name);
    fleets.push(fleet);
  };

  /** One range of ports per story. */
  const request = (story: number, changes: { roomsReplicas?: number; autoscaling?: object }): object => ({
    ...schedulerRequest(fleet.name, { roomsReplicas: 0, command: eagerRoom, firstPort: 31_000 + 50 * story }),
    maxSurge: '2',
    ...changes,
  });

  /** The same scheduler with rooms that differ in what they are started with. */
  const otherRooms = (original: object, command: string[]): object => {
    const copy = JSON.parse(JSON.stringify(original)) as { spec: { containers: { command: string[] }[] } };
    copy.spec.containers[0]!.command = command;
    return copy;
  };
  const newerRoom = [...eagerRoom, '--newer'];

  /** Ends a story: nothing was seen that must never be, and its rooms go. */
  const ends = async (): Promise<void> => {
    await fleet.end();
    expect(fleet.violations).toEqual([]);
    await fleet.order('DELETE');
    await eventually(async () => expect(await cluster.scheduler(fleet.name)).toBeUndefined(), {
      timeoutMs: 60 * seconds,
    });
  };

  describe('of a fleet that is sized by its use', () => {
    const policy = { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.5 } } };
    let played: PlayedRoom[];

    beforeAll(async () => {
      begin('sized');
      played = [];
      await fleet.create(request(0, { roomsReplicas: 2 }), 2);
      fleet.watch();
    }, storyMs);

    afterAll(ends, storyMs);

    const info = async (): Promise<SchedulerInfo> => {
      const { body } = await cluster.call<{ schedulers: SchedulerInfo[] }>('GET', '/schedulers/info');
      return body.schedulers.find(({ name }) => name === fleet.name)!;
    };

    const shows = (expected: Partial<SchedulerInfo>): Promise<void> =>
      eventually(
        async () => expect(await info()).toMatchObject({ roomsPending: 0, roomsTerminating: 0, ...expected }),
        {
          timeoutMs: 60 * seconds,
        },
      );

    it('keeps its replicas while no autoscaling is configured', async () => {
      await shows({ roomsReady: 2, roomsOccupied: 0, autoscaling: null });
    });

    it('keeps its replicas, and its rooms, while it is configured and not enabled', async () => {
      const before = await fleet.processes();
      await fleet.change('PATCH', { autoscaling: { enabled: false, min: 1, max: 10, cooldown: 0, policy } });
      expect(await fleet.activeVersion()).toBe('v1.1.0');
      await shows({ roomsReady: 2, roomsOccupied: 0, autoscaling: { enabled: false, min: 1, max: 10 } });
      expect(await fleet.processes()).toEqual(before);
    });

    it('keeps its rooms when somebody switches to another minor version', async () => {
      const before = await fleet.processes();
      await fleet.change('PUT', { version: 'v1.0.0' });
      await shows({ roomsReady: 2, autoscaling: null });
      await fleet.change('PUT', { version: 'v1.1.0' });
      await shows({ roomsReady: 2, autoscaling: { enabled: false, min: 1, max: 10 } });
      expect(await fleet.processes()).toEqual(before);
    });

    it(
      'has as many free rooms as used ones while it fills, up to its max',
      async () => {
        await fleet.change('PATCH', { autoscaling: { enabled: true, min: 1, max: 10, cooldown: 0, policy } });
        await shows({ roomsReady: 1, roomsOccupied: 0 });
        for (const [ready, occupied] of [
          [1, 1],
          [2, 2],
          [4, 4],
          [2, 8],
          [0, 10],
        ] as const) {
          played.push(...(await fleet.play(occupied - played.length)));
          await shows({ roomsReady: ready, roomsOccupied: occupied });
        }
      },
      storyMs,
    );

    it(
      'goes down to its min when nobody plays any more, and no further',
      async () => {
        for (const room of played) fleet.leave(room);
        await shows({ roomsReady: 1, roomsOccupied: 0 });
        const [last] = await fleet.rooms();
        expect(ids(played)).toContain(last!.id);
      },
      storyMs,
    );
  });

  it(
    'replaces a fleet that is in use, though its workers are killed: no match ends, and enough rooms are free throughout',
    async () => {
      begin('replaced');
      const [buffer, max, surge] = [3, 6, 2];
      const policy = { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: buffer } } };
      const original = request(1, { autoscaling: { enabled: true, min: 1, max, cooldown: 0, policy } });
      await fleet.create(original, buffer);
      const old = await fleet.play(3);
      await fleet.becomes((rooms) => rooms.filter(isFree).length === buffer);
      const outdated = await fleet.rooms();
      fleet.watch((rooms) => [
        ...atLeastFree(rooms, Math.min(buffer, max - rooms.filter(hasMatch).length)),
        ...(rooms.filter(isStanding).length > max + surge ? [`there are more rooms than ${max} and the surge`] : []),
        ...(rooms.some((room) => room.version === 'v1.0.0' && hasMatch(room) && !ids(old).includes(room.id))
          ? ['a match began in a room of the old version']
          : []),
      ]);

      // First a room of the new version shows that it comes up.
      await fleet.order('POST', otherRooms(original, newerRoom));
      await eventually(
        async () => {
          const rooms = await fleet.rooms();
          expect(rooms.filter(({ version }) => version === 'v2.0.0')).toMatchObject([{ validation: true }]);
          expect(rooms.filter(({ draining, version }) => !draining && version === 'v1.0.0')).toHaveLength(max);
        },
        { timeoutMs: 30 * seconds },
      );

      // Then the new ones come, beyond the max that there are already, and callers are sent there as soon as one is up.
      const isNew = ({ version }: RoomView): boolean => version === 'v2.0.0';
      await fleet.becomes((rooms) => rooms.some((room) => isNew(room) && isFree(room)));
      const given = [await allocate()];
      await workers.killOne(0);
      await fleet.play(given);

      // What is free of the old ones goes; what is used stays, and gets nobody.
      await fleet.becomes((rooms) => rooms.some(({ draining }) => draining));
      await workers.killOne(0.99);
      const isOld = (room: RoomView): boolean => !isNew(room);
      const used = await fleet.becomes(
        (rooms) => rooms.filter(isOld).length === old.length && rooms.filter(isOld).some(({ draining }) => draining),
      );
      expect(ids(used.filter(isOld))).toEqual(ids(old));
      given.push(await allocate());
      await fleet.play([given[1]!]);
      const since = Date.now();
      await fleet.becomes((rooms) =>
        rooms
          .filter(isOld)
          .every(({ pingStatus, lastPingAt }) => pingStatus === 'occupied' && Date.parse(lastPingAt ?? '') > since),
      );
      expect(old.filter(({ pid }) => !isAlive(pid))).toEqual([]);

      // And goes when its match is over, whoever else still plays.
      for (const room of old) {
        fleet.leave(room);
        await fleet.becomes((rooms) => !ids(rooms).includes(room.id));
        await eventually(() => expect(isAlive(room.pid)).toBe(false));
      }
      const rooms = await fleet.becomes((all) => all.length === given.length + buffer);
      expect(versions(rooms)).toEqual(['v2.0.0']);
      expect(ids(rooms.filter(hasMatch))).toEqual(given.sort());
      expect(ids(rooms).filter((id) => ids(outdated).includes(id))).toEqual([]);
      expect(fleet.looks).toBeGreaterThan(10);
      expect(workers.crashes).toEqual([]);
      await ends();

      async function allocate(): Promise<string> {
        const url = `http://127.0.0.1:${cluster.api.ports.rooms}/scheduler/${fleet.name}/rooms/allocate`;
        const response = await fetch(url, { method: 'POST' });
        const { roomId } = (await response.json()) as { roomId: string };
        expect((await fleet.rooms()).find(({ id }) => id === roomId)).toMatchObject({ version: 'v2.0.0' });
        return roomId;
      }
    },
    storyMs,
  );

  it(
    'goes back, once, to the version before when rooms of a new one come up and crash later; what was leaving stays',
    async () => {
      begin('crashing');
      const crash = join(cluster.state.path, 'crash');
      const crashing = [
        'node',
        '-e',
        `setInterval(() => { if (require('node:fs').existsSync(${JSON.stringify(crash)})) process.exit(3); }, 100);
         import('./examples/game-room/room.mjs');`,
      ];
      const original = request(2, { roomsReplicas: 4 });
      await fleet.create(original, 4);
      const old = await fleet.play(2);
      fleet.watch();
      await fleet.order('POST', otherRooms(original, crashing));
      await fleet.becomesVersion('v2.0.0');
      await fleet.becomes(
        (rooms) =>
          rooms.filter(({ draining }) => draining).length === old.length &&
          rooms.filter((room) => room.version === 'v2.0.0' && isFree(room)).length === 4,
      );

      writeFileSync(crash, '');
      await fleet.becomesVersion('v1.0.0');
      const whole = (rooms: readonly RoomView[]): boolean =>
        rooms.length === 4 && rooms.every((room) => room.version === 'v1.0.0' && (isFree(room) || hasMatch(room)));
      const rooms = await fleet.becomes((all) => whole(all) && all.every(({ draining }) => !draining));
      expect(ids(rooms)).toEqual(expect.arrayContaining(ids(old)));
      const [, back, ...more] = await fleet.operations('switch_active_version');
      expect(more).toEqual([]);
      expect(back!.input).toMatchObject({ newActiveVersion: 'v1.0.0' });
      const looks = await fleet.operations('health_controller');
      expect(looks.flatMap(({ events }) => events)).toEqual(
        expect.arrayContaining([
          expect.stringMatching(/^\d of \d new rooms failed, or ended unasked, .*exited with code 3/),
          `created operation (id: ${back!.id}) to go back to version v1.0.0.`,
        ]),
      );

      // A room that dies now is replaced, and that is all.
      const free = rooms.find(isFree)!;
      process.kill((await fleet.processes()).get(free.id)!, 'SIGKILL');
      await fleet.becomes((all) => whole(all) && !ids(all).includes(free.id));
      // Nobody is sent away from a room that was leaving for a while.
      for (const room of old) fleet.leave(room);
      const stayed = await fleet.becomes((all) => all.filter(isFree).length === 4);
      expect(ids(stayed)).toEqual(expect.arrayContaining(ids(old)));
      expect(await fleet.activeVersion()).toBe('v1.0.0');
      expect(await fleet.operations('switch_active_version')).toHaveLength(2);
      await ends();
    },
    storyMs,
  );

  it(
    'takes out of a fleet that is too large only rooms that nobody uses, and the others as their matches end',
    async () => {
      begin('shrunk');
      const autoscaling = (min: number, max: number): object => {
        const policy = { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 1 } } };
        return { enabled: true, min, max, cooldown: 0, policy };
      };
      await fleet.create(request(3, { autoscaling: autoscaling(5, 5) }), 5);
      const [first, second] = await fleet.play(2);
      fleet.watch();
      await fleet.change('PATCH', { autoscaling: autoscaling(1, 1) });
      const used = await fleet.becomes((rooms) => rooms.length === 2);
      expect(ids(used)).toEqual(ids([first!, second!]));
      expect(used).toMatchObject([{ draining: false }, { draining: false }]);

      fleet.leave(first!);
      const left = await fleet.becomes((rooms) => rooms.length === 1);
      expect(left).toMatchObject([{ id: second!.id, status: 'occupied', draining: false }]);
      fleet.leave(second!);
      await fleet.becomes(([room, ...others]) => others.length === 0 && room?.id === second!.id && isFree(room));
      await ends();
    },
    storyMs,
  );

  it(
    'keeps what was leaving, and replaces what had come, when somebody switches back in the middle of a rollout',
    async () => {
      begin('switched');
      const original = request(4, { roomsReplicas: 4 });
      await fleet.create(original, 4);
      const old = await fleet.play(3);
      fleet.watch((rooms) => atLeastFree(rooms, 4 - rooms.filter(hasMatch).length));
      await fleet.order('POST', otherRooms(original, newerRoom));
      const inTheMiddle = await fleet.becomes((rooms) => rooms.some((room) => room.draining && hasMatch(room)));
      const newer = inTheMiddle.filter(({ version }) => version === 'v2.0.0');
      expect(newer.length).toBeGreaterThan(0);

      await fleet.change('PUT', { version: 'v1.0.0' });
      const rooms = await fleet.becomes(
        (all) => all.length === 4 && all.every(({ version, draining }) => version === 'v1.0.0' && !draining),
      );
      expect(ids(rooms)).toEqual(expect.arrayContaining(ids(old)));
      for (const room of old) fleet.leave(room);
      const stayed = await fleet.becomes((all) => all.filter(isFree).length === 4);
      expect(ids(stayed)).toEqual(ids(rooms));
      const processes = await fleet.processes();
      expect(old.map(({ id }) => processes.get(id))).toEqual(old.map(({ pid }) => pid));

      // Forward again, with nobody there: all of them make room.
      await fleet.change('PUT', { version: 'v2.0.0' });
      await fleet.becomes((all) => all.length === 4 && all.every((room) => room.version === 'v2.0.0' && isFree(room)));
      await eventually(() => expect([...processes.values()].filter(isAlive)).toEqual([]), {
        timeoutMs: 30 * seconds,
      });
      await ends();
    },
    storyMs,
  );
});
