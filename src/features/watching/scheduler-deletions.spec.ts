import type { OperationDefinition } from '../../domain/operation/operation';
import { SchedulerDeletions } from './scheduler-deletions';

describe('whether a scheduler is being deleted', () => {
  const asked: string[] = [];
  let answer: () => Promise<unknown>;
  const deletions = () =>
    new SchedulerDeletions({
      findOpen: (scheduler: string, definitions: readonly OperationDefinition[]) => {
        asked.push(`${scheduler} ${definitions.join()}`);
        return answer() as Promise<null>;
      },
    });
  beforeEach(() => {
    asked.length = 0;
  });

  it('is asked once for all of its rooms that end together', async () => {
    const under = deletions();
    answer = () => Promise.resolve({});
    expect(await Promise.all([under.isUnderWay('arena'), under.isUnderWay('arena')])).toEqual([true, true]);
    answer = () => Promise.resolve(null);
    expect(await under.isUnderWay('arena')).toBe(true);
    expect(await under.isUnderWay('other')).toBe(false);
    expect(asked).toEqual(['arena delete_scheduler', 'other delete_scheduler']);
    answer = () => Promise.resolve({});
    expect(await under.isUnderWay('other')).toBe(true);
  });

  it('is taken for granted while nobody can tell', async () => {
    answer = () => Promise.reject(new Error('the database is away'));
    expect(await deletions().isUnderWay('arena')).toBe(true);
  });
});
