import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { createHttpApplication } from '../../src/api/http/http-application';
import { ManagementApiModule, managementOpenApi } from '../../src/api/management/management-api.module';
import { fakeManagementFeatures } from '../support/fake-management-features';
import { runSmokeClient } from '../support/openapi-client/smoke-client';
import { RecordedLog } from '../support/recorded-log';

const root = resolve(__dirname, '../..');
const clientFolder = join(root, 'test/support/openapi-client');
const documentPath = join(root, 'docs/openapi/management.json');
const read = (file: string): string => readFileSync(file, 'utf8');

interface Document {
  paths: Record<string, object>;
}

/** `GET /schedulers/{schedulerName}` of everything that the document has. */
function routesOf({ paths }: Document): string[] {
  return Object.entries(paths)
    .flatMap(([path, item]) => Object.keys(item).map((verb) => `${verb.toUpperCase()} ${path}`))
    .sort();
}

describe('a client generated from the OpenAPI document', () => {
  let app: NestFastifyApplication;
  let url: string;
  const features = fakeManagementFeatures();

  beforeAll(async () => {
    app = await createHttpApplication(ManagementApiModule.register({ providers: features.providers }), {
      logger: new RecordedLog(),
      allowedHosts: [],
      openApi: managementOpenApi,
    });
    await app.listen(0, '127.0.0.1');
    url = `http://127.0.0.1:${(app.getHttpServer() as { address(): AddressInfo }).address().port}`;
  });
  afterAll(() => app.close());

  it('has the document that is served', async () => {
    expect(JSON.parse(read(documentPath))).toEqual(await (await fetch(`${url}/docs-json`)).json());
  });

  it('uses every route, and understands an error', async () => {
    const report = await runSmokeClient(url, 'arena-eu', 'op-1');
    expect(report.created).toMatchObject({
      name: 'arena-eu',
      state: 'creating',
      maxSurge: '25%',
      portRange: { start: 40_000, end: 40_100 },
      spec: { version: 'v1.0.0', terminationGracePeriod: '60s', containers: [{ name: 'game-room' }] },
    });
    expect(report.names).toEqual(['arena-eu']);
    expect(report.got).toEqual(report.created);
    expect(report.info).toMatchObject([{ name: 'arena-eu', roomsReady: 3, autoscaling: null }]);
    expect(report.versions).toEqual(['v1.1.0', 'v1.0.0 active']);
    expect(report.operationIds).toEqual(['op-2', 'op-2', 'op-2', 'op-1']);
    const plan = { version: 'v2.0.0', major: ['spec.containers[0].ports'], ready: 3 };
    const blockedBy = ['scheduler_terminating', 'op-1'];
    expect(report.plans).toEqual([
      { ...plan, blockedBy },
      { ...plan, blockedBy },
    ]);
    expect(features.plans.calls).toEqual([
      ['plan patch', 'arena-eu', { maxSurge: '50%', clear: ['forwarders'] }],
      ['plan version', 'arena-eu', expect.objectContaining({ maxSurge: '50%', game: 'arena' })],
    ]);
    expect(report.active).toEqual(['2026-05-01T10:00:05Z']);
    expect(report.history).toEqual(['Created']);
    expect(report.actor).toBe('health_controller');
    expect(features.operations.calls).toContainEqual(['cancel', 'arena-eu', 'op-1']);
    expect(report.rooms).toEqual([
      { id: 'arena-1', status: 'active', host: '203.0.113.7' },
      { id: 'arena-2', status: 'pending', host: '' },
    ]);
    expect(report.why[0]).toBe('It became active 1 s ago (2026-05-01T10:00:00Z): it said occupied.');
    expect(report.removals).toEqual(['op-3', '']);
    expect(features.rooms.calls.slice(-2)).toEqual([
      ['delete room', 'arena-eu', 'arena-1'],
      ['drain room', 'arena-eu', 'arena-1'],
    ]);
    expect(report.explained).toEqual({
      desired: 20,
      formula: '15 in use + 5 free = 20',
      ready: 3,
      blockedBy: ['breaker'],
    });
    expect(report.rollout).toEqual({
      phase: 'replacing',
      outdated: 40,
      progress: 0.999,
      end: '2026-05-01T10:01:00.123Z',
    });
    expect(features.automation.calls).toEqual([
      ['pause', 'arena-eu', { by: 'api', reason: 'maintenance' }],
      ['resume', 'arena-eu'],
    ]);
    expect(report.pauses).toEqual(['maintenance', false]);
    expect(report.backtest).toEqual([{ name: 'three', hasTimeline: true, peakRooms: 3 }]);
    expect(report.refusal).toEqual({ code: 5, message: 'scheduler nowhere not found', details: [] });
    expect(report.called.sort()).toEqual(routesOf(JSON.parse(read(documentPath)) as Document));
  });

  describe('for the compiler', () => {
    /** What is changed in the smoke client, and must then be refused. */
    const mistakes: readonly [what: string, right: string, wrong: string][] = [
      ['a path', "'/schedulers',", "'/scheduler',"],
      ['a field that a request must have', "maxSurge: '25%',", ''],
      ['the type of a field', 'roomsReplicas: 3', "roomsReplicas: '3'"],
      ['a field of an answer', 'scheduler.name)', 'scheduler.nam)'],
      ['a parameter', "as: 'version'", "as: 'rollout'"],
      ['which of two bodies it is', "extensions: { clear: ['forwarders'] }", 'extensions: { clear: 1 }'],
      ['that a field may be null', " ?? nothing('the scheduler')", ''],
    ];
    const smokeClient = read(join(clientFolder, 'smoke-client.ts'));
    let folder: string;
    let complaints: string;

    // One run for all of them: most of its time goes into the libraries' types.
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'maestro-client-'));
      symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
      writeFileSync(join(folder, 'tsconfig.json'), read(join(clientFolder, 'tsconfig.json')));
      writeFileSync(join(folder, 'smoke-client.ts'), smokeClient);
      mistakes.forEach(([, right, wrong], index) => {
        writeFileSync(join(folder, `mistake-${index}.ts`), smokeClient.replace(right, wrong));
      });
      run('openapi-typescript', documentPath, '--default-non-nullable=false', '--output', 'management-api.ts');
      complaints = run('tsc', '--project', '.', '--pretty', 'false');
    }, 60_000);
    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    /** What it says; a compiler that finds something also fails. */
    function run(program: string, ...arguments_: string[]): string {
      const options = { cwd: folder, encoding: 'utf8' } as const;
      return spawnSync(join(root, 'node_modules/.bin', program), arguments_, options).stdout;
    }

    it('is right as it stands, in the strictest settings', () => {
      const lines = complaints.split('\n').filter((line) => line !== '' && !/^mistake-|^ /.test(line));
      expect(lines).toEqual([]);
    });

    it.each(mistakes.map((mistake, index) => [...mistake, index] as const))(
      'is refused when it gets %s wrong',
      (_what, right, _wrong, index) => {
        expect(smokeClient).toContain(right);
        expect(complaints).toMatch(new RegExp(`^mistake-${index}\\.ts\\(\\d+,\\d+\\): error`, 'm'));
      },
    );
  });
});
