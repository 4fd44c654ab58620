import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Counter, Registry } from 'prom-client';
import { createHttpApplication } from '../../src/api/http/http-application';
import { InternalApiModule } from '../../src/api/internal/internal-api.module';
import { DependencyChecks } from '../../src/api/internal/readiness-checks';
import { RecordedLog } from '../support/recorded-log';

describe('the internal API (management.md 1.9)', () => {
  let app: NestFastifyApplication;
  let log: RecordedLog;
  let redisAnswers: boolean;
  let registry: Registry;

  beforeEach(async () => {
    redisAnswers = true;
    log = new RecordedLog();
    registry = new Registry();
    const checks = new DependencyChecks({
      redis: async () => {
        if (!redisAnswers) throw new Error('connection refused');
      },
    });
    // Roles of one process may make it more than once on the same registry.
    InternalApiModule.register({ checks, servesMetrics: true, registry, logger: log });
    app = await createHttpApplication(
      InternalApiModule.register({ checks, servesMetrics: true, registry, logger: log }),
      { logger: log },
    );
    await app.init();
  });
  afterEach(() => app.close());

  const call = async (method: string, url: string) => {
    const answer = await app.inject({ method: method as 'GET', url, headers: { host: '10.1.2.3:8081' } });
    return { status: answer.statusCode, body: answer.body, type: answer.headers['content-type'] };
  };
  const ok = { status: 200, body: 'OK', type: 'text/plain; charset=utf-8' };

  it.each([
    ['GET', '/health'],
    ['GET', '/healthz'],
    ['GET', '/readyz'],
    ['POST', '/health'],
    ['DELETE', '/readyz'],
    ['OPTIONS', '/healthz'],
    ['GET', '/healthz?verbose=1'],
  ])('answers %s %s with OK, from any host', async (method, url) => {
    expect(await call(method, url)).toEqual(ok);
  });

  it('answers HEAD', async () => {
    expect(await call('HEAD', '/healthz')).toMatchObject({ status: 200 });
  });

  it('is alive but not ready while a dependency is away, and logs which', async () => {
    redisAnswers = false;
    expect(await call('GET', '/healthz')).toEqual(ok);
    expect(await call('GET', '/readyz')).toEqual({ ...ok, status: 503, body: 'Service Unavailable' });
    expect(log.lines.filter(({ level }) => level !== 'debug')).toEqual([
      { level: 'warn', message: 'not ready', fields: { failed: ['redis: connection refused'] } },
    ]);
  });

  it('shows the metrics of the registry and of the process', async () => {
    new Counter({ name: 'something_total', help: 'x', registers: [registry] }).inc(3);
    const { status, body, type } = await call('GET', '/metrics');
    expect(status).toBe(200);
    expect(type).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(body).toMatch(/^something_total 3$/m);
    expect(body).toMatch(/^process_start_time_seconds \d+$/m);
    expect(body).toMatch(/^nodejs_eventloop_lag_p99_seconds /m);
  });

  it('serves only what is switched on', async () => {
    const bare = await createHttpApplication(
      InternalApiModule.register({ servesMetrics: false, registry, logger: log }),
      { logger: log },
    );
    await bare.init();
    for (const url of ['/healthz', '/readyz', '/metrics']) {
      expect((await bare.inject({ method: 'GET', url })).statusCode).toBe(404);
    }
    await bare.close();
  });

  it('answers 404 to anything else', async () => {
    expect((await call('GET', '/schedulers')).status).toBe(404);
  });
});
