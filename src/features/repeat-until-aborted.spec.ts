import { getEventListeners } from 'node:events';
import { pause } from './repeat-until-aborted';

describe('pause', () => {
  it('ends with the first of its signals, and leaves nothing on the others', async () => {
    const [long, short] = [new AbortController(), new AbortController()];
    const paused = pause(3_600_000, long.signal, short.signal);
    short.abort();
    await paused;
    await pause(3_600_000, long.signal, short.signal);
    await pause(1, long.signal);
    expect(getEventListeners(long.signal, 'abort')).toEqual([]);
  });
});
