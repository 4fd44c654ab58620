import { RecordedLog } from '../../test/support/recorded-log';
import { remarksOnReach, tellUntilUsable } from './remark-on-runtime';

describe('remarks on whether rooms reach the rooms API', () => {
  const well = {
    runtime: 'kubernetes' as const,
    roomsApiPublicUrl: 'http://rooms.games.svc:8070',
    roomsApiGrpcPublicAddress: 'rooms.games.svc:8071',
    allowedHosts: ['.games.svc'],
    host: '0.0.0.0',
  };

  it('are none where all is well, or where nobody starts rooms in a cluster', () => {
    expect(remarksOnReach(['worker', 'rooms-api'], well)).toEqual([]);
    expect(remarksOnReach(['worker'], { ...well, allowedHosts: [], host: '127.0.0.1' })).toEqual([]);
    const astray = { ...well, roomsApiGrpcPublicAddress: undefined, host: '127.0.0.1' };
    expect(remarksOnReach(['rooms-api'], astray)).toEqual([]);
    expect(remarksOnReach(['worker', 'rooms-api'], { ...astray, runtime: 'local' })).toEqual([]);
  });

  it.each([
    ['a host that is not allowed', { allowedHosts: ['maestro.example'] }, 'MAESTRO_API_ALLOWEDHOSTS'],
    ['a listener that no pod reaches', { host: '127.0.0.1' }, 'listens on 127.0.0.1 only'],
    ['no gRPC address', { roomsApiGrpcPublicAddress: undefined }, 'MAESTRO_ROOMSAPI_GRPCPUBLICADDRESS is not set'],
    ['no address', { roomsApiPublicUrl: undefined }, 'MAESTRO_ROOMSAPI_PUBLICURL is not set'],
  ])('tell of %s', (_, change, words) => {
    expect(remarksOnReach(['worker', 'rooms-api'], { ...well, ...change })).toEqual([expect.stringContaining(words)]);
  });
});

describe('a runtime that cannot be used', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  it('is told of once, and once when it can', async () => {
    const log = new RecordedLog();
    let asks = 0;
    const check = async (): Promise<void> => {
      if (++asks < 4) throw new Error('403');
    };
    const told = tellUntilUsable(check, log, new AbortController().signal);
    await jest.advanceTimersByTimeAsync(60_000);
    await told;
    expect(log.lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
      'error the runtime cannot be used now; it is tried again and again',
      'info the runtime can be used again',
    ]);
    await tellUntilUsable(check, log, new AbortController().signal);
    expect(log.lines).toHaveLength(2);
  });
});
