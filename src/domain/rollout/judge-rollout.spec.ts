import { judgeRollout, type RolloutFacts } from './judge-rollout';

const failing: RolloutFacts = {
  progress: { updated: 0 },
  failed: 3,
  lastReason: 'exited with code 1',
  failureShare: 0.5,
  failureWindowMs: 600_000,
  rollbackVersion: 'v1.0.0',
  mayRollBack: true,
};

describe('judgeRollout', () => {
  test('a rollout whose rooms all fail ends, and says why', () => {
    expect(judgeRollout(failing)).toEqual({
      toVersion: 'v1.0.0',
      because:
        '3 of 3 new rooms failed, or ended unasked, within the last 600 s (a share of 0.5 ends a rollout), the last one because: exited with code 1',
    });
  });

  test.each<[string, Partial<RolloutFacts>, boolean]>([
    ['two failures are accidents', { failed: 2 }, false],
    ['half of the rooms fail', { failed: 10, progress: { updated: 10 } }, true],
    ['fewer than half of the rooms fail', { failed: 10, progress: { updated: 11 } }, false],
    ['a strict share', { failed: 3, progress: { updated: 97 }, failureShare: 0.03 }, true],
    ['a share that doubles round up', { failed: 7, progress: { updated: 93 }, failureShare: 0.07 }, true],
    ['only when all fail', { failed: 30, progress: { updated: 1 }, failureShare: 1 }, false],
    ['there is no version to go back to', { rollbackVersion: '' }, false],
    ['the scheduler does not want it, or came from a rollback', { mayRollBack: false }, false],
  ])('%s', (_, changes, ends) => {
    expect(judgeRollout({ ...failing, ...changes }) !== null).toBe(ends);
  });
});
