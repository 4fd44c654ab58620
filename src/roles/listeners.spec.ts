import { createServer, type AddressInfo, type Server } from 'node:net';
import { loadConfig } from '../config/load-config';
import type { Config } from '../config/settings';
import { assertPortsFree, listenFailure } from './listeners';

describe('listenFailure', () => {
  const listener = { port: 8080, portKey: 'managementApi.port' };

  it.each([
    [
      'EADDRINUSE',
      'port.in_use',
      'port 8080 on 127.0.0.1 is in use: stop what listens there, or choose another one with MAESTRO_MANAGEMENTAPI_PORT',
    ],
    ['EACCES', 'port.unusable', 'cannot listen on 127.0.0.1:8080: listen EACCES'],
  ])('explains %s', (code, expected, message) => {
    const error = Object.assign(new Error(`listen ${code}`), { code });
    expect(listenFailure(error, listener, '127.0.0.1')).toMatchObject({ code: expected, message });
  });
});

describe('assertPortsFree', () => {
  let blocker: Server;
  let busy: number;
  beforeEach(async () => {
    blocker = createServer();
    await new Promise<void>((done) => blocker.listen({ port: 0, host: '127.0.0.1' }, done));
    busy = (blocker.address() as AddressInfo).port;
  });
  afterEach(() => new Promise((done) => blocker.close(done)));

  const configWith = (ports: Partial<Config>): Config => ({
    ...loadConfig({ environment: {} }).config,
    managementApiPort: 0,
    roomsApiPort: 0,
    roomsApiGrpcPort: 0,
    internalApiPort: 0,
    ...ports,
  });
  const inUse = (variable: string) => ({
    code: 'port.in_use',
    message: expect.stringMatching(`^port ${busy} on 127\\.0\\.0\\.1 is in use: .*${variable}$`),
  });

  it('refuses a busy port of a role that runs, and of every process’ internal API', async () => {
    await expect(assertPortsFree(['management-api'], configWith({ managementApiPort: busy }))).rejects.toMatchObject(
      inUse('MAESTRO_MANAGEMENTAPI_PORT'),
    );
    await expect(assertPortsFree(['rooms-api'], configWith({ roomsApiPort: busy }))).rejects.toMatchObject(
      inUse('MAESTRO_ROOMSAPI_PORT'),
    );
    await expect(assertPortsFree(['rooms-api'], configWith({ roomsApiGrpcPort: busy }))).rejects.toMatchObject(
      inUse('MAESTRO_ROOMSAPI_GRPCPORT'),
    );
    await expect(assertPortsFree(['worker'], configWith({ internalApiPort: busy }))).rejects.toMatchObject(
      inUse('MAESTRO_INTERNALAPI_PORT'),
    );
  });

  it('does not care for the port of a role that does not run', async () => {
    await assertPortsFree(['worker', 'rooms-api'], configWith({ managementApiPort: busy }));
  });

  it('leaves a free port free', async () => {
    await new Promise((done) => blocker.close(done));
    const config = configWith({ internalApiPort: busy });
    await assertPortsFree(['worker'], config);
    await assertPortsFree(['worker'], config);
    await new Promise<void>((done) => blocker.listen({ port: busy, host: '127.0.0.1' }, done));
  });
});
