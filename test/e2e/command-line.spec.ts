import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { startTestPostgres, startTestRedis } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { MaestroProcess, freePorts, temporaryStateDirectory } from '../support/maestro-process';
import { roles } from '../../src/roles/role';

const state = temporaryStateDirectory();
let postgres: Awaited<ReturnType<typeof startTestPostgres>>;
let redis: Awaited<ReturnType<typeof startTestRedis>>;
let databases: Record<string, string>;

beforeAll(async () => {
  [postgres, redis] = await Promise.all([startTestPostgres(), startTestRedis()]);
  databases = {
    MAESTRO_POSTGRES_URL: postgres.url,
    MAESTRO_REDIS_URL: redis.url,
    MAESTRO_STATE_DIRECTORY: state.path,
  };
}, 60_000);

afterAll(async () => {
  await Promise.all([postgres.stop(), redis.stop()]);
  state.remove();
});

async function run(
  arguments_: string[],
  environment: Record<string, string> = {},
): Promise<{ code: number | null; lines: string[] }> {
  const started = new MaestroProcess(arguments_, await freePorts(), environment);
  const { code } = await started.exited();
  return { code, lines: started.output.trim().split('\n') };
}

describe('the command line', () => {
  it('shows what there is with --help', async () => {
    const { code, lines } = await run(['--help']);
    expect(code).toBe(0);
    expect(lines.join('\n')).toMatch(/start .*\n[\s\S]*migrate[\s\S]*reset/);
    const start = await run(['start', '--help']);
    for (const role of roles) expect(start.lines.join('\n')).toContain(role);
  }, 30_000);

  it.each([
    [
      'an unknown role',
      ['start', '--role', 'wroker'],
      {},
      /unknown role "wroker": a role is one of .*metrics-reporter, or all/,
    ],
    ['an unknown role in v10’s place', ['start', 'gateway'], {}, /unknown role "gateway"/],
    ['an unknown log preset', ['start', 'worker', '-l', 'loud'], {}, /unknown log preset "loud"/],
    ['a missing database', ['start', '--role', 'worker'], {}, /MAESTRO_POSTGRES_URL is not set/],
    [
      'an unreachable PostgreSQL',
      ['start', '--role', 'worker'],
      { MAESTRO_POSTGRES_URL: 'postgres://u:secret@127.0.0.1:1/x', MAESTRO_REDIS_URL: 'redis://127.0.0.1:1' },
      /cannot connect to PostgreSQL at 127\.0\.0\.1:1\/x/,
    ],
    ['a bad value', ['start'], { MAESTRO_ROOMSAPI_PORT: '99999' }, /MAESTRO_ROOMSAPI_PORT: must be a port number/],
    ['a configuration file that is not there', ['migrate', '-c', '/nowhere.yaml'], {}, /\/nowhere\.yaml/],
    [
      'rooms as pods of no cluster',
      ['start', '--role', 'worker'],
      { MAESTRO_RUNTIME: 'kubernetes' },
      /Nothing says where the Kubernetes cluster is: set .*_INCLUSTER, .*_KUBECONFIG or .*_MASTERURL, or KUBECONFIG/,
    ],
    [
      'a kubeconfig that is not there',
      ['start', '--role', 'worker'],
      { MAESTRO_RUNTIME: 'kubernetes', KUBECONFIG: '/nowhere/config' },
      /The kubeconfig \/nowhere\/config cannot be read: ENOENT/,
    ],
    [
      'a kubeconfig that says nothing',
      ['start', '--role', 'worker'],
      { MAESTRO_RUNTIME: 'kubernetes', KUBECONFIG: '/dev/null' },
      /The kubeconfig \/dev\/null cannot be read: it is empty/,
    ],
    [
      'a kubeconfig without context',
      ['start', '--role', 'worker'],
      { MAESTRO_RUNTIME: 'kubernetes', KUBECONFIG: join(__dirname, '../../package.json') },
      /The kubeconfig has no current context with a cluster/,
    ],
    [
      'the cluster around it, where there is none',
      ['start', '--role', 'worker'],
      { MAESTRO_RUNTIME: 'kubernetes', MAESTRO_ADAPTERS_RUNTIME_KUBERNETES_INCLUSTER: 'true' },
      /this process runs in no pod/,
    ],
  ])(
    'answers %s with one clear line and a non-zero exit',
    async (_case, arguments_, environment, message) => {
      const { code, lines } = await run(arguments_, environment);
      expect(code).toBe(1);
      const complaint = lines.filter((line) => line.startsWith('maestro: '));
      expect(complaint).toHaveLength(1);
      expect(lines.slice(lines.indexOf(complaint[0]!)).join(' ')).toMatch(message);
      expect(lines.join('\n')).not.toContain('secret');
      expect(lines.join('\n')).not.toMatch(/^\s+at /m);
    },
    30_000,
  );

  it('answers an unreachable Redis with one clear line', async () => {
    const { code, lines } = await run(['start', '--role', 'worker'], {
      ...databases,
      MAESTRO_REDIS_URL: 'redis://127.0.0.1:1',
    });
    expect(code).toBe(1);
    expect(lines.at(-1)).toMatch(/^maestro: cannot connect to Redis at 127\.0\.0\.1:1/);
  }, 30_000);

  it('refuses to start on a database that is not migrated, and starts after "migrate"', async () => {
    const before = await run(['start', '--role', 'management-api'], databases);
    expect(before.code).toBe(1);
    expect(before.lines.at(-1)).toMatch(/run "maestro migrate" first/);
    expect((await run(['migrate'], databases)).code).toBe(0);
    expect((await run(['migrate'], databases)).lines.join('\n')).toContain('up to date');
  }, 60_000);

  it.each([
    ['management', 'MAESTRO_MANAGEMENTAPI_PORT'],
    ['managementGrpc', 'MAESTRO_MANAGEMENTAPI_GRPCPORT'],
  ] as const)(
    'answers a busy port (%s) with the port and the variable that moves it',
    async (api, variable) => {
      const ports = await freePorts();
      const blocker: Server = createServer();
      await new Promise<void>((done) => blocker.listen(ports[api], '127.0.0.1', done));
      const started = new MaestroProcess(['start', '--role', 'management-api'], ports, databases);
      expect(await started.exited()).toMatchObject({ code: 1 });
      blocker.close();
      expect(started.output).toContain(`maestro: port ${ports[api]} on 127.0.0.1 is in use`);
      expect(started.output).toContain(variable);
    },
    30_000,
  );

  it('tells of a busy port before it starts any database', async () => {
    const ports = await freePorts();
    const blocker: Server = createServer();
    await new Promise<void>((done) => blocker.listen(ports.rooms, '127.0.0.1', done));
    const stateDirectory = join(state.path, 'not-made');
    const started = new MaestroProcess(['start'], ports, { MAESTRO_STATE_DIRECTORY: stateDirectory });
    expect(await started.exited()).toMatchObject({ code: 1 });
    blocker.close();
    expect(started.output).toMatch(/^maestro: port \d+ on 127\.0\.0\.1 is in use: .* MAESTRO_ROOMSAPI_PORT\n$/);
    expect(existsSync(stateDirectory)).toBe(false);
  }, 30_000);

  it.each(['reset', 'start'])(
    '%s refuses a directory with files of others, and touches nothing in it',
    async (command) => {
      const documents = join(state.path, `documents-of-${command}`);
      mkdirSync(documents);
      writeFileSync(join(documents, 'thesis.txt'), '');
      const { code, lines } = await run([command], { MAESTRO_STATE_DIRECTORY: documents });
      expect([code, lines.length, readdirSync(documents)]).toEqual([1, 1, ['thesis.txt']]);
      expect(lines[0]).toMatch(/^maestro: \S+ is not a state directory of Maestro: it holds thesis\.txt /);
    },
  );

  it('reset makes no missing directory', async () => {
    const missing = join(state.path, 'missing');
    const { code, lines } = await run(['reset'], { MAESTRO_STATE_DIRECTORY: missing });
    expect([code, existsSync(missing)]).toEqual([0, false]);
    expect(lines.join('\n')).toContain('there is no state to remove');
  });

  it.each(roles.map((role) => [role]))(
    'boots %s alone and stops it in order',
    async (role) => {
      const started = new MaestroProcess(['start', '--role', role], await freePorts(), databases);
      await started.ready();
      for (const path of ['/health', '/healthz', '/readyz']) {
        const response = await fetch(`http://127.0.0.1:${started.ports.internal}${path}`);
        expect([response.status, await response.text()]).toEqual([200, 'OK']);
      }
      expect(await started.metrics()).toContain('process_cpu_seconds_total');
      expect(await started.stop()).toEqual({ code: 0, signal: null });
    },
    60_000,
  );

  it('takes KUBECONFIG for somebody else’s while rooms are processes of this machine', async () => {
    const environment = { ...databases, KUBECONFIG: '/nowhere/config' };
    const started = new MaestroProcess(['start', '--role', 'worker'], await freePorts(), environment);
    await started.ready();
    expect(started.output).not.toMatch(/pods|kubeconfig/i);
    expect(await started.stop()).toEqual({ code: 0, signal: null });
  }, 60_000);

  it('starts while the cluster is away, says so, and is ready for what needs none', async () => {
    const environment = {
      ...databases,
      MAESTRO_RUNTIME: 'kubernetes',
      MAESTRO_ADAPTERS_RUNTIME_KUBERNETES_MASTERURL: 'http://127.0.0.1:1',
    };
    const [worker, api] = await Promise.all(
      ['worker', 'rooms-api'].map(
        async (role) => new MaestroProcess(['start', '--role', role], await freePorts(), environment),
      ),
    );
    await api!.ready();
    await eventually(
      async () => {
        expect(await worker!.readiness()).toBe(503);
        expect(worker!.output).toContain('"failed":["runtime: Kubernetes did not list pods: connect ECONNREFUSED');
        const complaints = worker!.output.split('\n').filter((line) => line.includes('the runtime cannot be used now'));
        expect(complaints).toEqual([expect.stringContaining('connect ECONNREFUSED 127.0.0.1:1')]);
      },
      { timeoutMs: 30_000, everyMs: 100 },
    );
    expect(api!.output).not.toContain('cannot be used');
    for (const each of [worker!, api!]) expect(await each.stop()).toEqual({ code: 0, signal: null });
  }, 90_000);

  it('takes v10’s MAESTRO_API_PORT as the port of the one API role that runs', async () => {
    const ports = await freePorts();
    const started = new MaestroProcess(['start', 'management-api'], ports, {
      ...databases,
      MAESTRO_MANAGEMENTAPI_PORT: '',
      MAESTRO_API_PORT: String(ports.management),
    });
    await started.ready();
    expect(await started.get('/schedulers')).toEqual({ schedulers: [] });
    expect(await started.stop()).toEqual({ code: 0, signal: null });
  }, 60_000);
});
