import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { LinuxProcessTable } from '../../src/adapters/local-process/process-table';
import type { RoomRecord } from '../../src/adapters/local-process/room-records';
import { prepareStatePaths } from '../../src/adapters/local-process/state-paths';
import { DomainError } from '../../src/domain/errors';
import type { InstanceSpec, Runtime } from '../../src/ports/runtime';
import { eventually } from '../support/eventually';
import {
  freePorts,
  isAlive,
  LocalRooms,
  RecordingWatcher,
  roomSpec,
  stubbornRoom,
  typescriptExecArgv,
  withHostPorts,
} from '../support/local-rooms';

/** These look into /proc; elsewhere the contract suite is all there is. */
const onLinux = process.platform === 'linux' ? describe : describe.skip;
if (process.platform !== 'linux') console.warn('SKIPPED: the local runtime is tested in depth on Linux only');

onLinux('local process supervisor', () => {
  let rooms: LocalRooms;
  let runtime: ReturnType<LocalRooms['client']>;
  let helpers: ChildProcess[];
  let sockets: Socket[];
  let watches: { stop: AbortController; done: Promise<void> }[];

  beforeEach(async () => {
    helpers = [];
    sockets = [];
    watches = [];
    rooms = new LocalRooms();
    runtime = rooms.client();
    await runtime.createScheduler('arena', 'test');
  });

  afterEach(async () => {
    for (const watch of watches) watch.stop.abort();
    await Promise.all(watches.map(({ done }) => done));
    for (const pid of rooms.supervisors()) process.kill(pid, 'SIGCONT');
    for (const helper of helpers) helper.kill('SIGKILL');
    for (const socket of sockets) socket.close();
    await rooms.dispose();
  });

  async function watching(client: Runtime = runtime): Promise<RecordingWatcher> {
    const watcher = new RecordingWatcher();
    const stop = new AbortController();
    watches.push({ stop, done: client.watchInstances(watcher, stop.signal) });
    await eventually(() => expect(watcher.lists).toHaveLength(1));
    return watcher;
  }

  async function started(changes: Parameters<typeof roomSpec>[0] = {}): Promise<InstanceSpec> {
    const spec = roomSpec(changes);
    await runtime.createInstance(spec);
    await eventually(async () => {
      const instance = (await runtime.listInstances()).find(({ id }) => id === spec.id);
      expect(instance?.status).toBe('ready');
    });
    return spec;
  }

  async function killSupervisor(): Promise<number> {
    const [pid = 0, ...others] = rooms.supervisors();
    expect(others).toEqual([]);
    process.kill(pid, 'SIGKILL');
    await eventually(() => expect(isAlive(pid)).toBe(false));
    return pid;
  }

  /** How often a supervisor of this state directory got to work. */
  const timesUp = ({ stateDir }: LocalRooms) =>
    readFileSync(join(stateDir, 'runtime', 'supervisor.log'), 'utf8').split('supervisor is up').length - 1;
  const recordPath = (id: string) => join(rooms.stateDir, 'runtime', 'rooms', 'arena', `${id}.json`);
  const readRecord = (id: string) => JSON.parse(readFileSync(recordPath(id), 'utf8')) as RoomRecord;
  const listedIds = async () => (await runtime.listInstances()).map(({ id }) => id).sort();
  const run = (script: string) => ['/bin/sh', '-c', script];

  async function failureOf(call: Promise<unknown>): Promise<DomainError> {
    const thrown: unknown = await call.catch((error: unknown) => error);
    expect(thrown).toBeInstanceOf(DomainError);
    return thrown as DomainError;
  }

  describe('who supervises', () => {
    it('is one, of many clients that start it at once', async () => {
      const others = new LocalRooms();
      let ups: number;
      try {
        const clients = Array.from({ length: 8 }, () => others.client());
        await Promise.all(clients.map((client) => client.listInstances()));
        await eventually(() => expect(others.supervisors()).toHaveLength(1));
        ups = timesUp(others);
      } finally {
        await others.dispose();
      }
      expect(ups).toBe(1);
      // Nor does one that lost come up late.
      expect(others.supervisors()).toEqual([]);
      expect(existsSync(others.stateDir)).toBe(false);
    });

    it('is one again, of many clients that find it killed', async () => {
      await started();
      const before = await killSupervisor();
      const clients = Array.from({ length: 8 }, () => rooms.client());
      const lists = await Promise.all(clients.map((client) => client.listInstances()));
      for (const list of lists) expect(list).toMatchObject([{ id: 'arena-1', status: 'ready' }]);
      await eventually(() => expect(rooms.supervisors()).toHaveLength(1));
      expect(rooms.supervisors()).not.toContain(before);
      expect(timesUp(rooms)).toBe(2);
    });

    it('is whoever gets the lock, of many that found its holder dead', async () => {
      const dir = prepareStatePaths(rooms.stateDir).runtimeDir;
      const lockFile = resolve(__dirname, '../../src/adapters/local-process/supervisor-lock.ts');
      const tableFile = resolve(__dirname, '../../src/adapters/local-process/process-table.ts');
      const script = `
        const { SupervisorLock } = require(${JSON.stringify(lockFile)});
        const { processTableOfThisMachine } = require(${JSON.stringify(tableFile)});
        const lock = new SupervisorLock(${JSON.stringify(dir)}, processTableOfThisMachine());
        process.stdin.once('data', async () => console.log(await lock.acquire('a-socket')));
        console.log('at the start');
      `;
      await killSupervisor();
      const racers = Array.from({ length: 6 }, () => spawn(process.execPath, [...typescriptExecArgv, '-e', script]));
      helpers.push(...racers);
      await Promise.all(racers.map((racer) => once(racer.stdout, 'data')));
      const outcomes = racers.map((racer) => once(racer.stdout, 'data'));
      for (const racer of racers) racer.stdin.write('go');
      const won = (await Promise.all(outcomes)).map(([chunk]) => String(chunk).trim());
      expect(won.sort()).toEqual(['false', 'false', 'false', 'false', 'false', 'true']);
      expect(readdirSync(dir).filter((name) => name.endsWith('.lock'))).toHaveLength(1);
    }, 15_000);

    it('lives in a session of its own, out of the reach of Ctrl-C', () => {
      const [pid = 0] = rooms.supervisors();
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      expect([fields[2], fields[3]]).toEqual([String(pid), String(pid)]);
    });

    it('is nobody after a while without rooms and clients', async () => {
      const others = new LocalRooms();
      try {
        const client = others.client({ idleExitMs: 100 });
        await client.listInstances();
        const [pid = 0] = others.supervisors();
        await client.close();
        await eventually(() => expect(isAlive(pid)).toBe(false));
      } finally {
        await others.dispose();
      }
    });

    it('stays while there is a room, without clients too', async () => {
      const others = new LocalRooms();
      try {
        const client = others.client({ idleExitMs: 50 });
        await client.createScheduler('arena', 'test');
        await client.createInstance(roomSpec({ command: run('sleep 0.5') }));
        const [pid = 0] = others.supervisors();
        await client.close();
        await eventually(() => expect(others.processesOf('arena-1').length).toBeGreaterThan(0));
        await eventually(() => {
          // While the room lives its supervisor must; when the room is gone, so is the supervisor.
          if (others.processesOf('arena-1').length > 0) expect(isAlive(pid)).toBe(true);
          expect(isAlive(pid)).toBe(false);
        });
      } finally {
        await others.dispose();
      }
    });

    it('can be reached where the state directory has a long path', async () => {
      const longDir = join(rooms.stateDir, 'x'.repeat(90));
      const client = rooms.client({ stateDir: longDir });
      expect(await client.listInstances()).toEqual([]);
      const { socket } = prepareStatePaths(longDir);
      expect(socket.startsWith(tmpdir())).toBe(true);
      expect(statSync(join(socket, '..')).mode & 0o777).toBe(0o700);
      await client.stopEverything();
      rmSync(socket, { force: true });
    });

    it('keeps others of the machine away from its socket', () => {
      expect(statSync(join(rooms.stateDir, 'runtime')).mode & 0o777).toBe(0o700);
    });

    it('leaves when its state directory is removed, and the next one finds the rooms in the process table', async () => {
      await started({ version: 'v4.2.0' });
      const pids = rooms.pidsOf('arena-1');
      const [first = 0] = rooms.supervisors();
      rmSync(join(rooms.stateDir, 'runtime'), { recursive: true });
      await eventually(() => expect(isAlive(first)).toBe(false));
      await eventually(async () =>
        expect(await runtime.listInstances()).toMatchObject([
          { id: 'arena-1', scheduler: 'arena', version: 'v4.2.0', status: 'ready' },
        ]),
      );
      expect(rooms.pidsOf('arena-1')).toEqual(pids);
    });

    it('is refused when it belongs to a newer Maestro, and replaced when to an older one', async () => {
      const others = new LocalRooms();
      const { socket } = prepareStatePaths(others.stateDir);
      const asked: string[] = [];
      let protocol = 99;
      const server = createServer((client) => {
        client.setEncoding('utf8').write(`${JSON.stringify({ hello: { protocol, pid: 1 } })}\n`);
        client.on('data', (line: string) => {
          const { id, method } = JSON.parse(line) as { id: number; method: string };
          asked.push(method);
          client.end(`${JSON.stringify({ id, answer: 'retiring' })}\n`);
          server.close();
        });
      });
      try {
        server.listen(socket);
        await once(server, 'listening');
        expect(await failureOf(others.client().listInstances())).toMatchObject({ code: 'runtime.supervisor_newer' });
        protocol = 0;
        expect(await others.client().listInstances()).toEqual([]);
        expect(asked).toEqual(['retire']);
      } finally {
        server.close();
        await others.dispose();
      }
    });

    it('says what failed when it cannot start', async () => {
      const others = new LocalRooms();
      const client = others.client({ execArgv: ['-r', '/nowhere/at/all.cjs'] });
      const error = await failureOf(client.listInstances());
      expect(error.kind).toBe('unavailable');
      expect(error.message).toContain('supervisor.log');
      expect(readFileSync(join(others.stateDir, 'runtime', 'supervisor.log'), 'utf8')).toContain('/nowhere/at/all.cjs');
      rmSync(others.stateDir, { recursive: true });
    });

    it('costs a call no more than its deadline when it hangs', async () => {
      const hasty = rooms.client({ requestTimeoutMs: 200 });
      await hasty.listInstances();
      const [pid = 0] = rooms.supervisors();
      process.kill(pid, 'SIGSTOP');
      expect(await failureOf(hasty.listInstances())).toMatchObject({ kind: 'unavailable', code: 'runtime.deadline' });
      process.kill(pid, 'SIGCONT');
      expect(await hasty.listInstances()).toEqual([]);
    });

    it('keeps its own log, with the life of rooms in it', async () => {
      await started();
      await runtime.deleteInstance('arena', 'arena-1', 'scale_down');
      await eventually(() => {
        const log = readFileSync(join(rooms.stateDir, 'runtime', 'supervisor.log'), 'utf8');
        for (const words of ['supervisor is up', '"reason":"scale_down"', 'exited with code 0'])
          expect(log).toContain(words);
      });
    });
  });

  describe('a killed supervisor', () => {
    it('loses no room: the next one adopts them with id, process and address', async () => {
      const [port = 0] = await freePorts(1);
      await runtime.createInstance(withHostPorts(roomSpec(), [{ protocol: 'udp', hostPort: port }]));
      await started({ id: 'arena-2', validation: true });
      const pids = ['arena-1', 'arena-2'].map((id) => rooms.pidsOf(id));
      const before = (await runtime.listInstances()).map((instance) => ({ ...instance, generation: 0 }));

      await killSupervisor();
      for (const pid of pids.flat()) expect(isAlive(pid)).toBe(true);
      const after = (await runtime.listInstances()).map((instance) => ({ ...instance, generation: 0 }));
      expect(after).toEqual(before);
      expect(['arena-1', 'arena-2'].map((id) => rooms.pidsOf(id))).toEqual(pids);
    });

    it('brings watchers a new list, and changes after it', async () => {
      await started();
      const watcher = await watching();
      await killSupervisor();
      await eventually(() => expect(watcher.lists).toHaveLength(2));
      expect(watcher.lists[1]).toMatchObject([{ id: 'arena-1', status: 'ready' }]);
      process.kill(rooms.pidsOf('arena-1')[0] ?? 0, 'SIGKILL');
      await eventually(() => expect(watcher.gone('arena-1')).toMatchObject({ status: 'error' }), { timeoutMs: 1_000 });
    });

    it('takes no output of a room with it', async () => {
      const mark = join(rooms.stateDir, 'go-on');
      await started({
        command: run(`echo before; until [ -e ${mark} ]; do sleep 0.02; done; echo after; echo again; sleep 300`),
      });
      await killSupervisor();
      writeFileSync(mark, '');
      await eventually(() => expect(rooms.logOf('arena-1')).toBe('before\nafter\nagain\n'));
      expect(rooms.pidsOf('arena-1')).toHaveLength(1);
    });

    it('leaves adopted rooms to be ended as any other', async () => {
      await started();
      await killSupervisor();
      const watcher = await watching();
      expect(await runtime.deleteInstance('arena', 'arena-1', 'scale_down')).toBe('deleting');
      await eventually(() => expect(watcher.gone('arena-1')).toMatchObject({ status: 'terminating' }));
      expect(rooms.processesOf('arena-1')).toEqual([]);
    });

    it('does not stretch a grace that had begun', async () => {
      await started({ command: stubbornRoom, terminationGracePeriodMs: 700 });
      await runtime.deleteInstance('arena', 'arena-1', 'scale_down');
      await killSupervisor();
      expect(await runtime.listInstances()).toMatchObject([{ id: 'arena-1', status: 'terminating' }]);
      await eventually(async () => expect(await runtime.listInstances()).toEqual([]), { timeoutMs: 3_000 });
      expect(rooms.processesOf('arena-1')).toEqual([]);
    });

    it('goes on with the removal of a scheduler', async () => {
      await started({ command: stubbornRoom, terminationGracePeriodMs: 500 });
      await runtime.deleteScheduler('arena');
      await killSupervisor();
      await eventually(async () => expect(await runtime.deleteScheduler('arena')).toBe('not_found'));
      expect(existsSync(join(rooms.stateDir, 'runtime', 'rooms', 'arena'))).toBe(false);
    });

    it('is no reason to list a room that ended meanwhile', async () => {
      await started();
      await started({ id: 'arena-2' });
      await killSupervisor();
      for (const pid of rooms.pidsOf('arena-1')) process.kill(pid, 'SIGKILL');
      await eventually(() => expect(rooms.pidsOf('arena-1')).toEqual([]));
      expect(await listedIds()).toEqual(['arena-2']);
      expect(existsSync(recordPath('arena-1'))).toBe(false);
    });

    it('may have died between a spawn and its record: the process table knows', async () => {
      await started();
      const pids = rooms.pidsOf('arena-1');
      await killSupervisor();
      const record = readRecord('arena-1');
      for (const container of record.containers) Object.assign(container, { pid: null, identity: '' });
      writeFileSync(recordPath('arena-1'), JSON.stringify({ ...record, started: false }));
      expect(await runtime.listInstances()).toMatchObject([{ id: 'arena-1', status: 'ready' }]);
      expect(readRecord('arena-1').containers.map(({ pid }) => pid)).toEqual(pids);
    });

    it('may have died between a record and its spawn: that room never was', async () => {
      await started();
      await killSupervisor();
      const record = { ...readRecord('arena-1'), id: 'arena-2', started: false };
      writeFileSync(
        recordPath('arena-2'),
        JSON.stringify({ ...record, containers: [{ name: 'room', pid: null, identity: '', ended: null }] }),
      );
      expect(await listedIds()).toEqual(['arena-1']);
    });

    it('leaves an unreadable record alone and goes on', async () => {
      await started();
      await killSupervisor();
      writeFileSync(recordPath('arena-2'), '{"id": "arena-2", ');
      expect(await listedIds()).toEqual(['arena-1']);
      expect(existsSync(recordPath('arena-2'))).toBe(true);
    });

    it('does not make a stranger with the same pid our room', async () => {
      await started();
      const stranger = spawn('sleep', ['300']);
      helpers.push(stranger);
      await killSupervisor();
      const record = readRecord('arena-1');
      const pid = stranger.pid ?? 0;
      writeFileSync(
        recordPath('arena-2'),
        JSON.stringify({ ...record, id: 'arena-2', containers: [{ ...record.containers[0], pid }] }),
      );
      expect(await listedIds()).toEqual(['arena-1']);
      await runtime.stopEverything();
      expect(isAlive(pid)).toBe(true);
    });
  });

  it('does not end rooms when Maestro is killed', async () => {
    const script = `
      const { LocalProcessRuntime } = require(${JSON.stringify(resolve(__dirname, '../../src/adapters/local-process/local-process-runtime.ts'))});
      const { roomSpec } = require(${JSON.stringify(resolve(__dirname, '../support/local-rooms.ts'))});
      const nothing = () => undefined;
      const log = { error: nothing, warn: nothing, info: nothing, debug: nothing };
      const runtime = new LocalProcessRuntime({
        stateDir: ${JSON.stringify(rooms.stateDir)}, roomsApiUrl: '', roomsGrpcAddress: '', environment: process.env,
        execArgv: ${JSON.stringify(typescriptExecArgv)}, housekeepingMs: 50,
      }, log);
      runtime.createInstance(roomSpec({ id: 'arena-7' })).then(() => console.log('made'));
    `;
    await killSupervisor();
    const maestro = spawn(process.execPath, [...typescriptExecArgv, '-e', script], {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    helpers.push(maestro);
    await once(maestro.stdout, 'data');
    await eventually(() => expect(rooms.pidsOf('arena-7')).toHaveLength(1));
    process.kill(-(maestro.pid ?? 0), 'SIGKILL');
    await once(maestro, 'exit');
    expect(await runtime.listInstances()).toMatchObject([{ id: 'arena-7', status: 'ready' }]);
    expect(rooms.supervisors()).toHaveLength(1);
  });

  describe('the end of a room', () => {
    it.each([
      ['exit 0', 'terminating', 'exited with code 0'],
      ['exit 3', 'error', 'exited with code 3'],
      ['kill -9 $$$$', 'error', 'killed by SIGKILL'],
      ['kill -SEGV $$$$', 'error', 'killed by SIGSEGV'],
    ])('by `%s` is told as %s: %s', async (script, status, description) => {
      const watcher = await watching();
      await runtime.createInstance(roomSpec({ command: run(script) }));
      await eventually(() => expect(watcher.gone('arena-1')).toMatchObject({ status, description }));
      expect(await runtime.listInstances()).toEqual([]);
    });

    it('by kill -9 is seen in less than a second', async () => {
      await started();
      const watcher = await watching();
      process.kill(rooms.pidsOf('arena-1')[0] ?? 0, 'SIGKILL');
      await eventually(() => expect(watcher.gone('arena-1')?.description).toBe('killed by SIGKILL'), {
        timeoutMs: 1_000,
      });
    });

    it('is its first process becoming a zombie', async () => {
      // A room whose parent never reaps: adopted from the process table, as after a supervisor's end in a container.
      await started();
      const [pid = 0] = rooms.pidsOf('arena-1');
      const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
      const valueOf = (name: string) =>
        variables.find((variable) => variable.startsWith(`${name}=`))?.slice(name.length + 1);
      await runtime.stopEverything();
      const parent = spawn(
        '/bin/sh',
        [
          '-c',
          'MAESTRO_LOCAL_RUNTIME="$A" MAESTRO_LOCAL_INSTANCE="$B" MAESTRO_ROOM_ID=arena-1 setsid sleep 300 & exec sleep 300',
        ],
        {
          env: { PATH: process.env['PATH'], A: valueOf('MAESTRO_LOCAL_RUNTIME'), B: valueOf('MAESTRO_LOCAL_INSTANCE') },
        },
      );
      helpers.push(parent);
      const [room = 0] = await eventually(() => {
        const pids = rooms.pidsOf('arena-1');
        expect(pids).toHaveLength(1);
        return pids;
      });
      const watcher = await watching();
      expect(watcher.lists[0]).toMatchObject([{ id: 'arena-1', status: 'ready' }]);
      process.kill(room, 'SIGKILL');
      await eventually(() => expect(watcher.gone('arena-1')).toBeDefined(), { timeoutMs: 1_000 });
      expect(readFileSync(`/proc/${room}/stat`, 'utf8')).toContain(') Z ');
      expect(await new LinuxProcessTable().identify([room])).toEqual(new Map());
    });

    it('is asked with SIGTERM and time to finish', async () => {
      await started({
        command: run('trap "sleep 0.1; echo saved; exit 0" TERM; echo up; while :; do sleep 0.02; done'),
      });
      await eventually(() => expect(rooms.logOf('arena-1')).toBe('up\n'));
      const watcher = await watching();
      await runtime.deleteInstance('arena', 'arena-1', 'scale_down');
      await eventually(() => expect(watcher.gone('arena-1')?.description).toBe('exited with code 0'));
      expect(rooms.logOf('arena-1')).toMatch(/saved\n$/);
    });

    it('is forced with SIGKILL when the grace is over, not before', async () => {
      await started({
        command: run('trap "" TERM; echo up; while :; do sleep 0.02; done'),
        terminationGracePeriodMs: 400,
      });
      await eventually(() => expect(rooms.logOf('arena-1')).toBe('up\n'));
      const watcher = await watching();
      const askedAtMs = Date.now();
      await runtime.deleteInstance('arena', 'arena-1', 'scale_down');
      await eventually(() => expect(watcher.gone('arena-1')?.description).toBe('killed by SIGKILL'));
      expect(Date.now() - askedAtMs).toBeGreaterThanOrEqual(395);
      expect(Date.now() - askedAtMs).toBeLessThan(2_000);
    });

    it('is the end of what it started, in its group or not', async () => {
      await started({ command: run('sleep 300 & setsid sleep 300 & wait') });
      await eventually(() => expect(rooms.processesOf('arena-1')).toHaveLength(3));
      process.kill(
        rooms.pidsOf('arena-1').find((pid) => pid === readRecord('arena-1').containers[0]?.pid) ?? 0,
        'SIGKILL',
      );
      await eventually(() => expect(rooms.processesOf('arena-1')).toEqual([]));
    });

    it('with several containers is the end of any of them', async () => {
      const mark = join(rooms.stateDir, 'end');
      const spec = roomSpec({ command: run(`until [ -e ${mark} ]; do sleep 0.02; done; exit 4`) });
      const [first] = spec.containers;
      await runtime.createInstance({
        ...spec,
        containers: [
          { ...(first as (typeof spec.containers)[0]), name: 'game' },
          {
            ...(first as (typeof spec.containers)[0]),
            name: 'sidecar',
            command: run('trap "exit 0" TERM; while :; do sleep 0.02; done'),
          },
        ],
      });
      const watcher = await watching();
      await eventually(() => expect(rooms.pidsOf('arena-1')).toHaveLength(2));
      writeFileSync(mark, '');
      await eventually(() =>
        expect(watcher.gone('arena-1')).toMatchObject({
          status: 'error',
          description: 'container "game" exited with code 4',
        }),
      );
      expect(watcher.changes.some(({ instance }) => instance.status === 'terminating')).toBe(true);
      expect(rooms.processesOf('arena-1')).toEqual([]);
    });
  });

  describe('a room that cannot start', () => {
    it('is listed with the reason until it is deleted', async () => {
      const watcher = await watching();
      await runtime.createInstance(roomSpec({ command: ['/no/such/program'] }));
      await eventually(async () =>
        expect(await runtime.listInstances()).toMatchObject([
          {
            status: 'error',
            description: expect.stringMatching(/^CreateContainerError: .*\/no\/such\/program ENOENT/),
          },
        ]),
      );
      await killSupervisor();
      expect(await runtime.listInstances()).toMatchObject([{ status: 'error' }]);
      expect(await runtime.deleteInstance('arena', 'arena-1', 'expired_room')).toBe('deleting');
      expect(await runtime.listInstances()).toEqual([]);
      await eventually(() => expect(watcher.lists.length + watcher.changes.length).toBeGreaterThan(2));
    });

    it('takes its other containers down', async () => {
      const spec = roomSpec();
      const [first] = spec.containers;
      await runtime.createInstance({
        ...spec,
        containers: [
          { ...(first as (typeof spec.containers)[0]), name: 'game' },
          { ...(first as (typeof spec.containers)[0]), name: 'broken', command: ['/no/such/program'] },
        ],
      });
      await eventually(async () => expect(await runtime.listInstances()).toMatchObject([{ status: 'error' }]));
      await eventually(() => expect(rooms.processesOf('arena-1')).toEqual([]));
      expect(await runtime.listInstances()).toMatchObject([{ status: 'error' }]);
    });

    it('shows a secret that is missing', async () => {
      const spec = withEnvironment([{ name: 'KEY', valueFrom: { secretKeyRef: { name: 'x', key: 'y' } } }]);
      await runtime.createInstance(spec);
      await eventually(async () =>
        expect(await runtime.listInstances()).toMatchObject([
          { status: 'error', description: 'CreateContainerConfigError: secret "x" key "y" not found' },
        ]),
      );
    });

    it.each([
      ['without a command', () => roomSpec({ command: [] }), 'runtime.command_missing'],
      ['without containers', () => roomSpec({ containers: [] }), 'runtime.containers_missing'],
      ['with an id that is a path', () => roomSpec({ id: '../arena-1' }), 'runtime.name_invalid'],
      ['with a secret that is a path', () => withSecret('..', 'passwd'), 'runtime.secret_name_invalid'],
      ['with a key that is a path', () => withSecret('x', '../../passwd'), 'runtime.secret_name_invalid'],
      ['with a key that is its folder', () => withSecret('x', '..'), 'runtime.secret_name_invalid'],
      [
        'with a field that rooms do not have',
        () => withEnvironment([{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'spec.hostname' } } }]),
        'runtime.field_path_unsupported',
      ],
    ])('is refused %s', async (_what, spec, code) => {
      expect(await failureOf(runtime.createInstance(spec()))).toMatchObject({ kind: 'invalid_argument', code });
      expect(await runtime.listInstances()).toEqual([]);
    });

    it('is refused when another program of the machine has its port', async () => {
      const socket = createSocket('udp4');
      sockets.push(socket);
      await new Promise<void>((done) => socket.bind(0, '127.0.0.1', done));
      const { port } = socket.address();
      const error = await failureOf(
        runtime.createInstance(withHostPorts(roomSpec(), [{ protocol: 'udp', hostPort: port }])),
      );
      expect(error).toMatchObject({ code: 'runtime.host_port_taken', details: { ports: [port] } });
    });
  });

  function withEnvironment(environment: InstanceSpec['containers'][0]['environment']): InstanceSpec {
    const spec = roomSpec({ command: run('env -0; echo; sleep 300') });
    return { ...spec, containers: spec.containers.map((container) => ({ ...container, environment })) };
  }

  function withSecret(name: string, key: string): InstanceSpec {
    return withEnvironment([{ name: 'A', valueFrom: { secretKeyRef: { name, key } } }]);
  }

  async function environmentOf(id: string): Promise<Record<string, string>> {
    const text = await eventually(() => {
      const log = rooms.logOf(id);
      expect(log).toMatch(/\0\n$/);
      return log;
    });
    const variables = text.split('\0').filter((variable) => variable.includes('='));
    return Object.fromEntries(variables.map((v) => [v.slice(0, v.indexOf('=')), v.slice(v.indexOf('=') + 1)]));
  }

  describe('the environment of a room', () => {
    it('holds the base, the room’s own variables and nothing else of ours', async () => {
      const client = rooms.client({
        environment: {
          PATH: process.env['PATH'],
          HOME: '/home/player',
          LANG: 'C',
          MAESTRO_POSTGRES_URL: 'secret',
          NODE_OPTIONS: '',
        },
      });
      const [port = 0] = await freePorts(1);
      await client.createInstance(withHostPorts(withEnvironment([]), [{ protocol: 'udp', hostPort: port }]));
      const { MAESTRO_LOCAL_INSTANCE: instanceText, ...environment } = await environmentOf('arena-1');
      // What the shell itself adds.
      for (const name of ['PWD', '_', 'OLDPWD', 'SHLVL']) delete environment[name];
      expect(environment).toEqual({
        PATH: process.env['PATH'],
        HOME: '/home/player',
        LANG: 'C',
        MAESTRO_PORT_GAME: String(port),
        MAESTRO_SCHEDULER_NAME: 'arena',
        MAESTRO_ROOM_ID: 'arena-1',
        MAESTRO_ROOMS_API_URL: 'http://127.0.0.1:8070',
        MAESTRO_ROOMS_GRPC_ADDRESS: '127.0.0.1:50052',
        MAESTRO_LOCAL_RUNTIME: prepareStatePaths(rooms.stateDir).marker,
      });
      expect(instanceText).toContain('arena-1');
    });

    it('has no secret of Maestro in its supervisor either', async () => {
      const [pid = 0] = rooms.supervisors();
      const names = readFileSync(`/proc/${pid}/environ`, 'utf8')
        .split('\0')
        .filter(Boolean)
        .map((v) => v.split('=')[0]);
      const allowed = ['PATH', 'HOME', 'TMPDIR', 'TEMP', 'TMP', 'LANG', 'SystemRoot'];
      expect(names.filter((name) => !allowed.includes(name ?? ''))).toEqual([]);
    });

    it('takes secrets from the state directory, without the line end of an editor', async () => {
      mkdirSync(join(rooms.stateDir, 'secrets', 'backend'), { recursive: true });
      writeFileSync(join(rooms.stateDir, 'secrets', 'backend', 'token'), 'hunter2\n');
      await runtime.createInstance(
        withEnvironment([{ name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'backend', key: 'token' } } }]),
      );
      expect(await environmentOf('arena-1')).toMatchObject({ TOKEN: 'hunter2' });
      expect(readFileSync(recordPath('arena-1'), 'utf8')).not.toContain('hunter2');
      expect(readFileSync(join(rooms.stateDir, 'runtime', 'supervisor.log'), 'utf8')).not.toContain('hunter2');
    });
  });

  describe('the logs of rooms', () => {
    it('are rotated by size without a pause of the room', async () => {
      const others = new LocalRooms();
      try {
        const client = others.client({ logMaxBytes: 2_000, logFiles: 3, housekeepingMs: 20 });
        await client.createScheduler('arena', 'test');
        await client.createInstance(
          roomSpec({ command: run('n=0; while :; do n=$((n+1)); echo "line $n"; sleep 0.001; done') }),
        );
        await eventually(() => expect(others.logOf('arena-1', '.2')).not.toBe(''), { timeoutMs: 15_000 });
        const numbers = (text: string) => [...text.matchAll(/line (\d+)\n/g)].map(([, n]) => Number(n));
        const lastOld = numbers(others.logOf('arena-1', '.1')).at(-1) ?? 0;
        await eventually(() => expect(numbers(others.logOf('arena-1')).at(-1)).toBeGreaterThan(lastOld));
        const files = readdirSync(join(others.stateDir, 'runtime', 'logs'));
        expect(files.filter((name) => !name.endsWith('.draft')).sort()).toEqual([
          'arena-1.log',
          'arena-1.log.1',
          'arena-1.log.2',
        ]);
        // The file is cut, not left with a hole where the old lines were.
        expect(others.logOf('arena-1').startsWith('\0')).toBe(false);
      } finally {
        await others.dispose();
      }
    });

    it('of ended rooms are kept up to a number', async () => {
      const others = new LocalRooms();
      try {
        const client = others.client({ endedLogsKept: 2 });
        await client.createScheduler('arena', 'test');
        for (const id of ['arena-1', 'arena-2', 'arena-3', 'arena-4']) {
          await client.createInstance(roomSpec({ id, command: run('echo bye') }));
          await eventually(async () => expect(await client.listInstances()).toEqual([]));
        }
        await eventually(() =>
          expect(readdirSync(join(others.stateDir, 'runtime', 'logs')).sort()).toEqual(['arena-3.log', 'arena-4.log']),
        );
      } finally {
        await others.dispose();
      }
    });
  });

  describe('stopEverything', () => {
    it('ends every room with its grace, then the supervisor, and leaves no process', async () => {
      await started({ command: run('trap "echo saved; exit 0" TERM; echo up; while :; do sleep 0.02; done') });
      await started({ id: 'arena-2', command: stubbornRoom, terminationGracePeriodMs: 300 });
      await started({ id: 'arena-3', command: run('setsid sleep 300 & sleep 300') });
      await eventually(() => expect(rooms.processesOf('arena-3')).toHaveLength(3));
      await eventually(() => expect(rooms.logOf('arena-1')).toBe('up\n'));
      const [supervisor = 0] = rooms.supervisors();
      await runtime.stopEverything();
      expect(rooms.processesOf()).toEqual([]);
      expect(isAlive(supervisor)).toBe(false);
      expect(rooms.logOf('arena-1')).toMatch(/saved\n$/);
    });

    it('keeps the places of schedulers for the next start', async () => {
      await started();
      await runtime.stopEverything();
      expect(await runtime.createScheduler('arena', 'test')).toBe('already_ours');
      expect(await runtime.listInstances()).toEqual([]);
    });

    it('ends rooms whose supervisor was killed', async () => {
      await started();
      await killSupervisor();
      await runtime.stopEverything();
      expect(rooms.processesOf()).toEqual([]);
      expect(rooms.supervisors()).toEqual([]);
    });

    it('survives the death of the supervisor in the middle', async () => {
      await started({ command: stubbornRoom, terminationGracePeriodMs: 500 });
      const stopping = runtime.stopEverything();
      await eventually(async () =>
        expect(await rooms.client().listInstances()).toMatchObject([{ status: 'terminating' }]),
      );
      await killSupervisor();
      await stopping;
      expect(rooms.processesOf()).toEqual([]);
    });

    it('starts nothing where nothing runs', async () => {
      const others = new LocalRooms();
      await others.client().stopEverything();
      expect(others.supervisors()).toEqual([]);
      expect(existsSync(join(others.stateDir, 'runtime', 'supervisor.log'))).toBe(false);
      rmSync(others.stateDir, { recursive: true });
    });

    it('refuses new rooms meanwhile', async () => {
      await started({ command: stubbornRoom, terminationGracePeriodMs: 2_000 });
      const stopping = runtime.stopEverything();
      const other = rooms.client();
      await eventually(async () => expect(await other.listInstances()).toMatchObject([{ status: 'terminating' }]));
      expect(await failureOf(other.createInstance(roomSpec({ id: 'arena-2' })))).toMatchObject({
        kind: 'unavailable',
        code: 'runtime.stopping',
      });
      await stopping;
    });
  });

  it('tells a watcher again what its handler failed to take', async () => {
    const listed: string[][] = [];
    const stop = new AbortController();
    let failures = 0;
    const done = runtime.watchInstances(
      {
        onList: async (instances) => void listed.push(instances.map(({ id, status }) => `${id} ${status}`)),
        onChange: async () => {
          failures++;
          throw new Error('the store is away');
        },
      },
      stop.signal,
    );
    watches.push({ stop, done });
    await eventually(() => expect(listed).toEqual([[]]));
    await started();
    await eventually(() => expect(listed.at(-1)).toEqual(['arena-1 ready']));
    expect(failures).toBeGreaterThan(0);
    expect(rooms.log.lines).toContainEqual(
      expect.objectContaining({ level: 'error', fields: expect.objectContaining({ error: 'the store is away' }) }),
    );
  });
});
