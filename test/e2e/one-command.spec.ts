import { readFileSync } from 'node:fs';
import { RoomsService } from '../../src/proto/gen/api/v1/rooms_pb';
import { SchedulersService } from '../../src/proto/gen/api/v1/schedulers_pb';
import { GrpcClient } from '../support/grpc-client';
import {
  MaestroProcess,
  freePorts,
  isAlive,
  processesOf,
  roomProcesses,
  temporaryStateDirectory,
} from '../support/maestro-process';
import { eventually } from '../support/eventually';

interface FleetInfo {
  schedulers: { name: string; state: string; roomsReady: number; roomsPending: number; roomsTerminating: number }[];
}
interface OperationList {
  operations: { id: string; definitionName: string; status: string }[];
}
interface OperationDetail {
  operation: { executionHistory: { event: string }[]; input: Record<string, unknown> };
}

const pingTimeoutMs = 3_000;

/**
 * The story of the README: one command brings up a fleet, a room dies and comes back, Maestro dies and no room does, Ctrl-C
 * ends everything. Told with each Redis that the launcher may take.
 */
describe.each([['auto'], ['js']])('one command, with the embedded Redis chosen by "%s"', (redis) => {
  const state = temporaryStateDirectory();
  let maestro: MaestroProcess;

  beforeAll(async () => {
    maestro = await begin();
  }, 90_000);

  afterAll(async () => {
    await maestro.stop();
    state.remove();
  }, 60_000);

  async function begin(): Promise<MaestroProcess> {
    const started = new MaestroProcess(['start'], await portsOnce(), {
      MAESTRO_STATE_DIRECTORY: state.path,
      MAESTRO_EMBEDDED_REDIS: redis,
      MAESTRO_SERVICES_ROOMMANAGER_ROOMPINGTIMEOUTMILLIS: String(pingTimeoutMs),
      MAESTRO_REPORTER_METRICS_INTERVALMILLIS: '500',
      MAESTRO_LOOPS_LEASETTL: '2s',
    });
    return started.ready();
  }

  // Rooms are told the address of the rooms API once: it must be the same after a restart.
  let chosen: Awaited<ReturnType<typeof freePorts>> | undefined;
  async function portsOnce() {
    chosen ??= await freePorts();
    return chosen;
  }

  /** Servers and rooms of this state that run. */
  const left = (): string[] => processesOf(state.path, `127.0.0.1:${chosen!.rooms}`);

  async function threeReady(timeoutMs: number): Promise<void> {
    await eventually(
      async () => {
        const { schedulers } = await maestro.get<FleetInfo>('/schedulers/info');
        expect(schedulers).toMatchObject([{ name: 'arena', state: 'in-sync', roomsReady: 3, roomsTerminating: 0 }]);
        expect(roomProcesses(state.path, 'arena').size).toBe(3);
      },
      { timeoutMs, everyMs: 50 },
    );
  }

  const finalOperations = async (): Promise<OperationList['operations']> =>
    (await maestro.get<OperationList>('/schedulers/arena/operations?stage=final')).operations;

  it('brings up three ready rooms and says where everything is', async () => {
    await threeReady(20_000);
    // Nobody looks on: all that is written are lines of JSON.
    const lines = maestro.output
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(lines).toContainEqual(
      expect.objectContaining({
        msg: 'everything runs, and may be called',
        swagger_ui: `http://127.0.0.1:${maestro.ports.management}/docs`,
        metrics_url: `http://127.0.0.1:${maestro.ports.internal}/metrics`,
        ends_rooms: true,
      }),
    );
    // What "nothing left behind" means further down: the rooms are among the processes that would be found.
    if (process.platform === 'linux') expect(left().filter((each) => /room\.mjs/.test(each))).toHaveLength(3);
    await eventually(async () => {
      expect(await maestro.metrics()).toContain('maestro_worker_gru_ready{game="arena",scheduler="arena"} 3');
    });
  }, 30_000);

  it('answers over gRPC too', async () => {
    const client = new GrpcClient(maestro.ports.managementGrpc);
    expect(await client.checkHealth('api.v1.SchedulersService')).toBe('SERVING');
    expect(await client.listServices()).toContain('api.v1.SchedulersService');
    const { schedulers } = await client.call(SchedulersService.method.getSchedulersInfo, {});
    expect(schedulers).toMatchObject([{ name: 'arena', roomsReady: 3 }]);
    client.close();
  });

  it('answers rooms over gRPC, at the address that they are told', async () => {
    const address = `127.0.0.1:${maestro.ports.roomsGrpc}`;
    expect(maestro.output).toContain(address);
    const client = new GrpcClient(maestro.ports.roomsGrpc);
    expect(await client.checkHealth('api.v1.RoomsService')).toBe('SERVING');
    const [room, pid] = [...roomProcesses(state.path, 'arena')][0]!;
    const answer = await client.call(RoomsService.method.getRoomAddress, { schedulerName: 'arena', roomName: room });
    expect(answer).toMatchObject({ host: '127.0.0.1', ports: [{ name: 'clientPort', protocol: 'UDP' }] });
    client.close();
    if (process.platform !== 'linux') return;
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    expect(environment).toContain(`MAESTRO_ROOMS_GRPC_ADDRESS=${address}`);
  });

  it('replaces a killed room within five seconds, with the history to show for it', async () => {
    const [victim, pid] = [...roomProcesses(state.path, 'arena')][0]!;
    const before = (await finalOperations()).map((operation) => operation.id);
    process.kill(pid, 'SIGKILL');
    await eventually(
      async () => {
        const rooms = roomProcesses(state.path, 'arena');
        expect(rooms.has(victim)).toBe(false);
        expect(rooms.size).toBe(3);
      },
      { timeoutMs: 5_000 },
    );
    await threeReady(10_000);
    const added = (await finalOperations()).filter((operation) => !before.includes(operation.id));
    expect(added.map((operation) => operation.definitionName)).toEqual(['add_rooms', 'health_controller']);
    const histories = await Promise.all(
      added.map((operation) => maestro.get<OperationDetail>(`/schedulers/arena/operations/${operation.id}`)),
    );
    const events = histories.map(({ operation }) => operation.executionHistory.map(({ event }) => event));
    expect(events[0]).toEqual(['Created', 'Starting operation', 'added 1 room', 'Operation finished']);
    expect(events[1]).toEqual([
      'Created',
      'Starting operation',
      `created operation (id: ${added[0]!.id}) to add 1 room.`,
      'Operation finished',
    ]);
    expect(histories[1]!.operation.input).toEqual({ took_action: true });
  }, 30_000);

  it('loses no room when it is killed, and finds them again after more than every ping timeout', async () => {
    const before = roomProcesses(state.path, 'arena');
    await maestro.kill();
    const [deadRoom, deadPid] = [...before][0]!;
    process.kill(deadPid, 'SIGKILL');
    const killedAt = Date.now();
    await eventually(
      () => {
        expect(left().filter((each) => /postgres|redis/.test(each))).toEqual([]);
        expect(Date.now() - killedAt).toBeGreaterThan(2 * pingTimeoutMs + 500);
      },
      { timeoutMs: 30_000 },
    );
    const survivors = [...before].filter(([id]) => id !== deadRoom);
    for (const [, pid] of survivors) expect(isAlive(pid)).toBe(true);

    maestro = await begin();
    // The dead room's record goes and another room comes; the survivors are the same processes under the same ids.
    await eventually(() => expect(roomProcesses(state.path, 'arena').size).toBe(3), { timeoutMs: 30_000 });
    await threeReady(30_000);
    const after = roomProcesses(state.path, 'arena');
    expect(after.has(deadRoom)).toBe(false);
    expect([...after].filter(([id]) => before.has(id))).toEqual(survivors);
    // They stay: nobody expires them for the time that nobody could hear them.
    const finished = await finalOperations();
    const rooms = await Promise.all(
      finished
        .filter((operation) => operation.definitionName === 'remove_rooms')
        .map((operation) => maestro.get<OperationDetail>(`/schedulers/arena/operations/${operation.id}`)),
    );
    const removed = rooms.flatMap(({ operation }) => operation.input['rooms_ids'] as string[]);
    expect(removed.filter((id) => survivors.some(([survivor]) => survivor === id))).toEqual([]);
  }, 120_000);

  it('refuses a second owner of the same state', async () => {
    const second = new MaestroProcess(['start'], await freePorts(), { MAESTRO_STATE_DIRECTORY: state.path });
    expect(await second.exited()).toMatchObject({ code: 1 });
    expect(second.output.trim().split('\n')).toHaveLength(1);
    expect(second.output).toContain(String(maestro.pid));
  }, 30_000);

  it('deletes a scheduler with its rooms and leaves its operation to be read', async () => {
    const rooms = [...roomProcesses(state.path, 'arena').values()];
    const answer = await fetch(`http://127.0.0.1:${maestro.ports.management}/schedulers/arena`, { method: 'DELETE' });
    const { operationId } = (await answer.json()) as { operationId: string };
    await eventually(
      async () => {
        const { operation } = await maestro.get<{ operation: { status: string } }>(
          `/schedulers/arena/operations/${operationId}`,
        );
        expect(operation.status).toBe('finished');
      },
      { timeoutMs: 30_000, everyMs: 50 },
    );
    expect(rooms.filter(isAlive)).toEqual([]);
    expect(await maestro.get<FleetInfo>('/schedulers/info')).toEqual({ schedulers: [] });
  }, 60_000);

  it('stops on SIGTERM with exit code 0 and leaves nothing behind', async () => {
    expect(await maestro.stop()).toEqual({ code: 0, signal: null });
    await eventually(() => expect(left()).toEqual([]), { timeoutMs: 10_000 });
  }, 60_000);

  it('starts from what it left, without the sample that was deleted', async () => {
    maestro = await begin();
    expect(await maestro.get<FleetInfo>('/schedulers/info')).toEqual({ schedulers: [] });
    await maestro.stop();
    const reset = new MaestroProcess(['reset'], await freePorts(), { MAESTRO_STATE_DIRECTORY: state.path });
    expect(await reset.exited()).toMatchObject({ code: 0 });
    expect(left()).toEqual([]);
  }, 90_000);
});
