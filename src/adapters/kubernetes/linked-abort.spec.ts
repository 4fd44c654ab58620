import { getEventListeners } from 'node:events';
import { LinkedAbort } from './linked-abort';

describe('LinkedAbort', () => {
  it('aborts with the first of its signals, for the same reason', () => {
    const [one, other] = [new AbortController(), new AbortController()];
    const linked = new LinkedAbort(one.signal, other.signal);
    expect(linked.signal.aborted).toBe(false);
    other.abort('enough');
    one.abort('too late');
    expect(linked.signal).toMatchObject({ aborted: true, reason: 'enough' });
  });

  it('is aborted from the start where a signal was', () => {
    expect(new LinkedAbort(new AbortController().signal, AbortSignal.abort('over')).signal.reason).toBe('over');
  });

  it('leaves nothing on its signals once it is released, and does not hear them any more', () => {
    const long = new AbortController();
    const linked = new LinkedAbort(long.signal);
    linked.release();
    expect(getEventListeners(long.signal, 'abort')).toEqual([]);
    long.abort();
    expect(linked.signal.aborted).toBe(false);
  });
});
