import type { Logger } from '../../ports/logger';
import type { HeldOperation, OperationStore } from '../../ports/operation-store';
import { leaseLost } from './interruptions';
import { keepLease, type LeaseToKeep } from './keep-lease';

describe('keepLease', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  function keep(renewLease: () => Promise<{ cancelRequested: boolean }>): { onLost: jest.Mock; letGo: () => void } {
    const onLost = jest.fn();
    const lease: LeaseToKeep = {
      operations: { renewLease } as unknown as OperationStore,
      held: {} as HeldOperation,
      leaseTtlMs: 300,
      renewAfterMs: 100,
      askedAt: performance.now(),
      logger: { warn: () => undefined } as unknown as Logger,
      onLost,
      onCancelRequested: () => undefined,
    };
    return { onLost, letGo: keepLease(lease) };
  }

  it('renews for as long as it is held', async () => {
    const renewLease = jest.fn(async () => ({ cancelRequested: false }));
    const { onLost, letGo } = keep(renewLease);
    await jest.advanceTimersByTimeAsync(1_050);
    expect(renewLease).toHaveBeenCalledTimes(10);
    expect(onLost).not.toHaveBeenCalled();
    letGo();
    expect(jest.getTimerCount()).toBe(0);
  });

  it.each([
    ['another worker has it', () => Promise.reject(leaseLost())],
    ['no renewal gets through', () => Promise.reject(new Error('the database is away'))],
    ['a renewal hangs', () => new Promise<never>(() => undefined)],
  ])('is lost once when %s, and is not renewed from then on, also where nobody lets go of it', async (_, renew) => {
    const renewLease = jest.fn(renew);
    const { onLost } = keep(renewLease);
    await jest.advanceTimersByTimeAsync(350);
    expect(onLost).toHaveBeenCalledTimes(1);
    const { length } = renewLease.mock.calls;
    await jest.advanceTimersByTimeAsync(2_000);
    expect(onLost).toHaveBeenCalledTimes(1);
    expect(renewLease).toHaveBeenCalledTimes(length);
    expect(jest.getTimerCount()).toBe(0);
  });
});
