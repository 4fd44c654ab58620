import { claimant, claimName } from './claim';

describe('a claim', () => {
  it('carries its process in its name', () => {
    expect(claimant(claimName({ pid: 42, startedAt: '987654' }))).toEqual({ pid: 42, startedAt: '987654' });
  });

  it.each(['redis', 'owner-x-1.lock', 'owner-1-2.lock.bak'])('is not seen in a file named %s', (name) => {
    expect(claimant(name)).toBeUndefined();
  });
});
