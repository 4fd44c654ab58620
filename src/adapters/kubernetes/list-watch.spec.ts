import { RecordedLog } from '../../../test/support/recorded-log';
import { ApiFailure } from './api-failure';
import type { KubernetesApi } from './kubernetes-api';
import type { Pod } from './kubernetes-objects';
import { ListWatch } from './list-watch';

type Watch = KubernetesApi['watch'];

describe('ListWatch', () => {
  const log = new RecordedLog();
  const what = { path: '/api/v1/pods', query: {}, name: 'pods' };
  const handlers = { onList: async () => undefined, onEvent: () => undefined };

  /** Lists that say versions 1, 2, …, and watches as told, from the versions that they were asked for. */
  function open(watches: ((...call: Parameters<Watch>) => Promise<void>)[], onList = handlers.onList) {
    const stop = new AbortController();
    const asked: string[] = [];
    let lists = 0;
    const api = {
      list: async () => ({ items: [], resourceVersion: String(++lists) }),
      watch: async (...call: Parameters<Watch>) => {
        asked.push(call[2]);
        const next = watches.shift();
        if (next === undefined) stop.abort();
        else await next(...call);
      },
    } as unknown as KubernetesApi;
    const done = new ListWatch<Pod>(api, what, { ...handlers, onList }, log).run(stop.signal);
    return { asked, done, stop };
  }

  beforeEach(() => log.lines.splice(0));
  afterEach(() => jest.restoreAllMocks());

  it('goes on from its version after an interruption, and lists anew after a silence or a forgotten version', async () => {
    const fail = (failure: ApiFailure) => () => Promise.reject(failure);
    const expired = new ApiFailure('too old', { status: 410, reason: 'Expired', causes: [], retryAfterMs: null });
    const { asked, done } = open([
      fail(ApiFailure.noAnswer('cut')),
      fail(ApiFailure.silence('nothing came')),
      fail(expired),
    ]);
    await done;
    expect(asked).toEqual(['1', '1', '2', '3']);
  });

  it('backs off from a handler that fails, however long it takes', async () => {
    let nowMs = 0;
    jest.spyOn(performance, 'now').mockImplementation(() => nowMs);
    let lists = 0;
    const { done, stop } = open([], async () => {
      nowMs += 60_000;
      if (++lists === 3) stop.abort();
      throw new Error('the store is away');
    });
    await done;
    expect(log.lines.map(({ fields }) => fields['failures'])).toEqual([1, 2]);
  });

  it('takes a watch that was open for a while for one that worked', async () => {
    let nowMs = 0;
    jest.spyOn(performance, 'now').mockImplementation(() => nowMs);
    const cut =
      (openMs: number) =>
      async (...[, , , , { onOpen }]: Parameters<Watch>) => {
        onOpen();
        nowMs += openMs;
        throw ApiFailure.noAnswer('cut');
      };
    const { done } = open([cut(0), cut(0), cut(60_000)]);
    await done;
    expect(log.lines.map(({ fields }) => fields['failures'])).toEqual([1, 2, 1]);
  });

  it('leaves a server that refuses the watch alone for as long as it says', async () => {
    const refusal = new ApiFailure('busy', { status: 429, reason: '', causes: [], retryAfterMs: 1_000 });
    const { done } = open([() => Promise.reject(refusal)]);
    const beganMs = performance.now();
    await done;
    expect(performance.now() - beganMs).toBeGreaterThanOrEqual(995);
  });
});
