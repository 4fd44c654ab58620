import type { SchedulerExtensions } from './scheduler';
import { keepExtensions } from './scheduler-extensions';
import { aDefinition, fullExtensions } from './scheduler.fixture';

describe('keepExtensions', () => {
  const { autoscaling, rollout, drain } = fullExtensions();

  test.each<
    [string, SchedulerExtensions | undefined, SchedulerExtensions | undefined, SchedulerExtensions | undefined]
  >([
    ['a client of v10, which says nothing, takes nothing away', undefined, { rollout, drain }, { rollout, drain }],
    ['nothing said of nothing is nothing', undefined, undefined, undefined],
    ['what is said is all of it', { drain }, { autoscaling, rollout }, { drain }],
    ['what is said of a new scheduler is its own', { rollout }, undefined, { rollout }],
    ['an empty value clears', {}, { autoscaling, rollout, drain }, undefined],
    ['empty parts are none', { autoscaling: {}, rollout: {}, drain }, { rollout }, { drain }],
    ['nothing but empty parts clears', { rollout: {} }, { rollout }, undefined],
    ['empty parts that are stored are not shown again', undefined, { rollout: {} }, undefined],
  ])('%s', (_, wanted, stored, expected) => {
    const definition = aDefinition();
    const kept = keepExtensions(wanted === undefined ? definition : { ...definition, extensions: wanted }, stored);
    expect(kept).toEqual(expected === undefined ? definition : { ...definition, extensions: expected });
    expect('extensions' in kept).toBe(expected !== undefined);
  });
});
