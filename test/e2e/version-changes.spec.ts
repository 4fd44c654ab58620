import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { eventually } from '../support/eventually';
import {
  MaestroProcess,
  freePorts,
  processesOf,
  roomProcesses,
  roomRecords,
  temporaryStateDirectory,
  type Ports,
} from '../support/maestro-process';

const sample = JSON.parse(readFileSync(resolve(__dirname, '../../examples/schedulers/arena.json'), 'utf8')) as {
  spec: { containers: { command: string[]; environment: { name: string; value?: string }[] }[] };
};

/** A room that died is replaced as soon as that, whatever else its scheduler is about. */
const replacedWithinMs = 5_000;

interface OperationView {
  id: string;
  status: string;
  definitionName: string;
  executionHistory: { event: string }[];
}

/** The story of `management.md` 8, TestCreateNewSchedulerVersion and TestSwitchActiveVersion, with rooms that are real. */
describe('versions of a scheduler', () => {
  const state = temporaryStateDirectory();
  let ports: Ports;
  let maestro: MaestroProcess;

  const start = (): Promise<MaestroProcess> =>
    new MaestroProcess(['start'], ports, {
      MAESTRO_STATE_DIRECTORY: state.path,
      MAESTRO_SERVICES_OPERATIONMANAGER_OPERATIONLEASETTLMILLIS: '1500',
      MAESTRO_WORKERS_SWEEPINTERVAL: '300ms',
      MAESTRO_SERVICES_ROOMMANAGER_ROOMVALIDATIONTIMEOUTMILLIS: '120000',
      MAESTRO_SERVICES_ROOMMANAGER_ROOMDRAINCONFIRMMILLIS: '500',
    }).ready();

  beforeAll(async () => {
    ports = await freePorts();
    maestro = await start();
    await eventually(async () => expect(await roomsReady()).toBe(3), { timeoutMs: 20_000 });
  }, 60_000);

  afterAll(async () => {
    await maestro.stop();
    expect(processesOf(state.path)).toEqual([]);
    state.remove();
  }, 60_000);

  const roomsReady = async (): Promise<number | undefined> =>
    (await maestro.get<{ schedulers: { roomsReady: number }[] }>('/schedulers/info')).schedulers[0]?.roomsReady;

  const activeVersion = async (): Promise<string> =>
    (await maestro.get<{ scheduler: { spec: { version: string } } }>('/schedulers/arena')).scheduler.spec.version;

  const versions = async (): Promise<string[]> =>
    (await maestro.get<{ versions: { version: string }[] }>('/schedulers/arena/versions')).versions.map(
      ({ version }) => version,
    );

  const operation = async (id: string): Promise<OperationView> =>
    (await maestro.get<{ operation: OperationView }>(`/schedulers/arena/operations/${id}`)).operation;

  async function call(method: string, path: string, body: unknown): Promise<{ status: number; body: never }> {
    const response = await fetch(`http://127.0.0.1:${ports.management}${path}`, { method, body: JSON.stringify(body) });
    return { status: response.status, body: (await response.json()) as never };
  }

  async function order(method: string, body: unknown): Promise<string> {
    const answer = await call(method, '/schedulers/arena', body);
    expect(answer).toEqual({ status: 200, body: { operationId: expect.any(String) } });
    return (answer.body as { operationId: string }).operationId;
  }

  async function ended(id: string, timeoutMs = 30_000): Promise<OperationView> {
    return eventually(
      async () => {
        const found = await operation(id);
        if (['pending', 'in_progress'].includes(found.status)) throw new Error(JSON.stringify(found));
        return found;
      },
      { timeoutMs },
    );
  }

  async function becomes(version: string): Promise<void> {
    await eventually(async () => expect(await activeVersion()).toBe(version), { timeoutMs: 30_000 });
  }

  /** Kills the process of a ready room. Answers how long after its death the room was made that replaces it, in milliseconds. */
  async function aRoomIsKilledAndReplaced(): Promise<number> {
    await eventually(async () => expect(await roomsReady()).toBe(3), { timeoutMs: 20_000 });
    const before = roomRecords(state.path, 'arena');
    const victim = before.find(({ validation }) => !validation)!;
    process.kill(victim.containers[0]!.pid!, 'SIGKILL');
    // On a busy machine the death itself may be noticed late: the time runs from there.
    await eventually(() => expect(roomProcesses(state.path, 'arena').has(victim.id)).toBe(false), {
      timeoutMs: 20_000,
    });
    const seenDeadAtMs = Date.now();
    const replacement = await eventually(
      () => {
        const found = roomRecords(state.path, 'arena').find((room) => before.every(({ id }) => id !== room.id));
        expect(found).toMatchObject({ validation: false, version: 'v3.0.0' });
        return found!;
      },
      { timeoutMs: 30_000 },
    );
    await eventually(async () => expect(await roomsReady()).toBe(3), { timeoutMs: 20_000 });
    return replacement.createdAtMs - seenDeadAtMs;
  }

  const changed = (image: string): unknown => ({
    ...sample,
    spec: {
      ...sample.spec,
      containers: sample.spec.containers.map((container) => ({
        ...container,
        environment: [...container.environment, { name: 'IMAGE', value: image }],
      })),
    },
  });

  it('numbers minor and major ones as v10 does, each major one after a room of it came up', async () => {
    const before = [...roomProcesses(state.path, 'arena').keys()];
    const minor = await ended(await order('PATCH', { maxSurge: '22' }));
    expect(minor.status).toBe('finished');
    await becomes('v1.1.0');
    expect([...roomProcesses(state.path, 'arena').keys()]).toEqual(before);

    const plan = await call('POST', '/schedulers/arena/plan?as=version', changed('one'));
    expect(plan).toMatchObject({ status: 200, body: { bump: 'major', version: 'v2.0.0', problems: [] } });
    const major = await ended(await order('POST', changed('one')));
    expect(major.status).toBe('finished');
    expect(major.executionHistory.map(({ event }) => event).join('\n')).toMatch(
      /major version detected[^]*validation success[^]*enqueued switch active version operation with id: /,
    );
    await becomes('v2.0.0');

    await ended(await order('PUT', { version: 'v1.0.0' }));
    await becomes('v1.0.0');
    await ended(await order('PATCH', { roomsReplicas: 3 }));
    await becomes('v1.2.0');
    await ended(await order('POST', changed('two')));
    await becomes('v3.0.0');
    expect(await versions()).toEqual(['v3.0.0', 'v1.2.0', 'v2.0.0', 'v1.1.0', 'v1.0.0']);
    // Rooms of the versions before make room for it.
    await eventually(
      () => expect(roomRecords(state.path, 'arena').map(({ version }) => version)).toEqual(Array(3).fill('v3.0.0')),
      { timeoutMs: 60_000 },
    );
    await eventually(async () => expect(await roomsReady()).toBe(3), { timeoutMs: 20_000 });
  }, 150_000);

  it('ends a switch to an unknown version in error, and stays where it was', async () => {
    const found = await ended(await order('PUT', { version: 'v9.0.0' }));
    expect(found.status).toBe('error');
    expect(await activeVersion()).toBe('v3.0.0');
    expect(await call('PUT', '/schedulers/nobody', { version: 'v1.0.0' })).toMatchObject({
      status: 404,
      body: { code: 5, message: 'scheduler nobody not found' },
    });
  }, 40_000);

  it('goes on with a validation whose worker is killed, while dead rooms are replaced, and cancels it', async () => {
    const silent = JSON.parse(JSON.stringify(changed('three'))) as typeof sample;
    silent.spec.containers[0]!.command = ['node', '-e', 'setInterval(() => {}, 1000)'];
    const id = await order('POST', silent);
    const running = () => roomProcesses(state.path, 'arena');
    await eventually(async () => expect(running().size).toBe(4), { timeoutMs: 20_000 });
    expect(await call('PATCH', '/schedulers/arena', { maxSurge: '5' })).toMatchObject({
      status: 400,
      body: { code: 9, message: expect.stringContaining(`(id: ${id})`) },
    });

    const validationRooms = () => roomRecords(state.path, 'arena').filter(({ validation }) => validation);
    const validating = validationRooms();
    expect(await aRoomIsKilledAndReplaced()).toBeLessThan(replacedWithinMs);
    await maestro.kill();
    maestro = await start();
    await aRoomIsKilledAndReplaced();
    // The validation went on undisturbed: in its first attempt, with the room that it began with.
    const { status, executionHistory } = await operation(id);
    expect(status).toBe('in_progress');
    expect(executionHistory.filter(({ event }) => event.includes('validation room'))).toHaveLength(1);
    expect(validationRooms()).toEqual(validating);

    expect(await call('POST', `/schedulers/arena/operations/${id}/cancel`, {})).toEqual({ status: 200, body: {} });
    const canceled = await ended(id);
    expect(canceled.status).toBe('canceled');
    await eventually(
      async () => {
        expect(running().size).toBe(3);
        expect(await roomsReady()).toBe(3);
      },
      { timeoutMs: 20_000 },
    );
    expect(await versions()).toHaveLength(5);
    expect(await call('POST', `/schedulers/arena/operations/${id}/cancel`, {})).toEqual({
      status: 409,
      body: { code: 10, message: 'cannot cancel operation since status "canceled" is a final status', details: [] },
    });
    expect((await call('POST', '/schedulers/arena/operations/no-such/cancel', {})).status).toBe(404);
    const { scheduler } = await maestro.get<{ scheduler: { state: string } }>('/schedulers/arena');
    expect(scheduler.state).toBe('in-sync');
  }, 120_000);
});
