import { describeLateStart } from './describe-late-start';
import { aRoom } from './room.fixture';

describe('describeLateStart', () => {
  test.each([
    [
      'tells what the runtime says',
      aRoom({ lastPingAtMs: null, instance: { description: 'Unschedulable: no node' } }),
      'Unschedulable: no node',
    ],
    ['or that it never pinged', aRoom({ lastPingAtMs: null }), 'it did not ping within 2 min'],
    [
      'or what it said instead of being up',
      aRoom({ lastPingAtMs: 1, pingStatus: 'ready' }),
      'it did not come up within 2 min, and said ready last',
    ],
  ])('%s', (_, room, words) => {
    expect(describeLateStart(room, 120_000)).toBe(words);
  });
});
