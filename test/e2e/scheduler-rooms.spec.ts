import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { eventually } from '../support/eventually';
import {
  MaestroProcess,
  freePorts,
  processesOf,
  roomProcesses,
  temporaryStateDirectory,
  type Ports,
} from '../support/maestro-process';
import { Player } from '../support/player';

const sample = JSON.parse(readFileSync(resolve(__dirname, '../../examples/schedulers/arena.json'), 'utf8')) as {
  spec: { containers: object[] };
};

interface RoomView {
  id: string;
  status: string;
  draining: boolean;
  ports: { port: number }[];
}

/** An operator looks at the rooms of a fleet, and takes some of them out, with real rooms and a player in them. */
describe('rooms of a scheduler', () => {
  const state = temporaryStateDirectory();
  let ports: Ports;
  let maestro: MaestroProcess;
  const players: Player[] = [];

  beforeAll(async () => {
    ports = await freePorts();
    maestro = await new MaestroProcess(['start'], ports, {
      MAESTRO_STATE_DIRECTORY: state.path,
      MAESTRO_SERVICES_ROOMMANAGER_ROOMDRAINCONFIRMMILLIS: '1000',
    }).ready();
    await eventually(async () => expect(await rooms('?status=ready')).toHaveLength(3), { timeoutMs: 20_000 });
  }, 60_000);

  afterAll(async () => {
    for (const player of players) player.leave();
    await maestro.stop();
    expect(processesOf(state.path)).toEqual([]);
    state.remove();
  }, 60_000);

  const rooms = async (query = '', scheduler = 'arena'): Promise<RoomView[]> =>
    (await maestro.get<{ rooms: RoomView[] }>(`/schedulers/${scheduler}/rooms${query}`)).rooms;

  const remove = async (room: string, query = ''): Promise<string> => {
    const url = `http://127.0.0.1:${ports.management}/schedulers/arena/rooms/${room}${query}`;
    const response = await fetch(url, { method: 'DELETE' });
    expect(response.status).toBe(200);
    return ((await response.json()) as { operationId: string }).operationId;
  };

  /** A room in which somebody plays, as Maestro knows. */
  async function occupiedRoom(): Promise<{ id: string; player: Player }> {
    const [room] = await rooms('?status=ready');
    const player = new Player(room!.ports[0]!.port);
    players.push(player);
    await eventually(async () => expect((await rooms('?status=occupied')).map(({ id }) => id)).toEqual([room!.id]), {
      timeoutMs: 10_000,
    });
    return { id: room!.id, player };
  }

  const readyWithout = (id: string, amount: number): Promise<void> =>
    eventually(
      async () => {
        const ready = (await rooms('?status=ready')).map((room) => room.id);
        expect(ready).not.toContain(id);
        expect(ready).toHaveLength(amount);
      },
      { timeoutMs: 20_000, everyMs: 50 },
    );

  const isGone = (id: string): Promise<void> =>
    eventually(
      async () => {
        expect((await rooms()).map((room) => room.id)).not.toContain(id);
        expect([...roomProcesses(state.path, 'arena').keys()]).not.toContain(id);
      },
      { timeoutMs: 30_000, everyMs: 50 },
    );

  /** What the removals that ended were told to remove, and why. */
  async function removals(): Promise<object[]> {
    const { operations } = await maestro.get<{ operations: { id: string; definitionName: string }[] }>(
      '/schedulers/arena/operations?stage=final&perPage=100',
    );
    const ended = operations.filter(({ definitionName }) => definitionName === 'remove_rooms');
    return Promise.all(
      ended.map(async ({ id }) => {
        const path = `/schedulers/arena/operations/${id}`;
        return (await maestro.get<{ operation: { input: object } }>(path)).operation.input;
      }),
    );
  }

  it('lists them with their addresses, and tells of each why it is ready', async () => {
    const listed = await rooms();
    expect(listed.map(({ id }) => id)).toEqual([...roomProcesses(state.path, 'arena').keys()]);
    for (const { id, ports: published } of listed) {
      expect(published).toEqual([{ name: 'clientPort', protocol: 'UDP', port: expect.any(Number) }]);
      const { why } = await maestro.get<{ why: string[] }>(`/schedulers/arena/rooms/${id}`);
      expect(why).toEqual([
        expect.stringMatching(/^It became ready .*: it said ready\.$/),
        expect.stringMatching(/^It last said ready .* ago/),
        expect.stringMatching(/^The runtime says that its instance is ready/),
        expect.stringMatching(/^It expires in .* of silence, unless it pings\.$/),
        'It can be given to a caller now.',
      ]);
    }
  });

  it('tells of a room that runs and says nothing that it never pinged, and until when it may do so', async () => {
    const mute = {
      ...sample,
      name: 'mute',
      roomsReplicas: 1,
      spec: {
        ...sample.spec,
        containers: sample.spec.containers.map((container) => ({
          ...container,
          command: ['node', '-e', 'setInterval(() => {}, 1000)'],
        })),
      },
    };
    expect((await maestro.post('/schedulers', mute)).status).toBe(200);
    const [room] = await eventually(
      async () => {
        const unready = await rooms('?status=unready', 'mute');
        expect(unready).toHaveLength(1);
        return unready;
      },
      { timeoutMs: 20_000 },
    );
    const { why } = await maestro.get<{ why: string[] }>(`/schedulers/mute/rooms/${room!.id}`);
    expect(why).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^It became unready .*: the runtime said of its instance ready/),
        'It has not pinged yet.',
        expect.stringMatching(/^It expires in .* unless it comes up\.$/),
        'It cannot be given to a caller now: it is unready; it has not pinged yet.',
      ]),
    );
  }, 30_000);

  it('deletes one by name although somebody plays there, and replaces it', async () => {
    const { id, player } = await occupiedRoom();
    const operationId = await remove(id);
    await isGone(id);
    await readyWithout(id, 3);
    await eventually(async () => {
      const { operation } = await maestro.get<{ operation: object }>(`/schedulers/arena/operations/${operationId}`);
      expect(operation).toMatchObject({ status: 'finished', input: { rooms_ids: [id], reason: 'deleted_by_name' } });
    });
    player.leave();
    players.splice(players.indexOf(player), 1);
  }, 60_000);

  it('drains one: its successor comes up first, the match is played to its end, and then it goes', async () => {
    const { id, player } = await occupiedRoom();
    expect(await remove(id, '?drain=true')).toBe('');
    await readyWithout(id, 3);
    const { why, room } = await maestro.get<{ why: string[]; room: RoomView }>(`/schedulers/arena/rooms/${id}`);
    expect(room).toMatchObject({ status: 'occupied', draining: true });
    expect(why).toContainEqual(expect.stringMatching(/^It has been draining .* goes when its last match is over\.$/));

    player.leave();
    players.splice(players.indexOf(player), 1);
    await isGone(id);
    await readyWithout(id, 3);
    await eventually(async () =>
      expect(await removals()).toContainEqual({ amount: 1, rooms_ids: [id], reason: 'drained' }),
    );
  }, 60_000);
});
