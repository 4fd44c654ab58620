import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { SchedulerExtensions } from '../scheduler/scheduler';
import { failureWindowOf, rolloutDefaults, rolloutSettingsOf, type RolloutSettings } from './rollout-settings';

describe('rolloutSettingsOf', () => {
  const defaults: RolloutSettings = { automaticRollback: true, failureShare: 0.5, failureWindowMs: 600_000 };

  test.each<[string, SchedulerExtensions | undefined, RolloutSettings]>([
    ['a scheduler without extensions has the defaults', undefined, defaults],
    ['one that says nothing of rollouts, too', { drain: { deadlineSeconds: 60 } }, defaults],
    [
      'what is said holds',
      { rollout: { automaticRollback: false, failureShare: 0.25, failureWindowSeconds: 60 } },
      {
        automaticRollback: false,
        failureShare: 0.25,
        failureWindowMs: 60_000,
      },
    ],
    ['and the defaults for the rest', { rollout: { failureShare: 1 } }, { ...defaults, failureShare: 1 }],
  ])('%s', (_, extensions, expected) => {
    expect(rolloutSettingsOf(extensions === undefined ? {} : { extensions })).toEqual(expected);
  });

  test.each(Object.entries(rolloutDefaults))('the documentation names the default of %s', (field, value) => {
    const text = readFileSync(resolve(__dirname, '../../../docs/scheduler-extensions.md'), 'utf8');
    const row = text.split('\n').find((line) => line.includes(`\`rollout.${field}\``));
    expect(row?.split('|').at(-2)?.trim()).toBe(String(value));
  });
});

test.each([
  [600_000, 120_000, 600_000],
  [600_000, 300_000, 1_200_000],
  [1_000, 120_000, 480_000],
])(
  'failures within %i ms, of rooms that have %i ms to come up, count for %i ms',
  (failureWindowMs, initializationTimeoutMs, windowMs) => {
    expect(failureWindowOf({ failureWindowMs }, { initializationTimeoutMs })).toBe(windowMs);
  },
);
