import type { JsonValue } from '@bufbuild/protobuf';
import { readBacktestPolicy } from './backtest-policy';

const autoscaling = {
  enabled: true,
  min: 1,
  max: 10,
  policy: { type: 'fixedBuffer', parameters: { fixedBuffer: { amount: 3 } } },
};

describe('readBacktestPolicy', () => {
  test('reads what a scheduler says of its size, with the defaults of the wire', () => {
    expect(readBacktestPolicy({ autoscaling })).toEqual({
      roomsReplicas: 0,
      maxSurge: '25%',
      matchAllocation: { maxMatches: 1 },
      autoscaling: { ...autoscaling, cooldown: 0 },
    });
    expect(readBacktestPolicy({ roomsReplicas: 3, match_allocation: { max_matches: 4 }, max_surge: '5' })).toEqual({
      roomsReplicas: 3,
      maxSurge: '5',
      matchAllocation: { maxMatches: 4 },
    });
  });

  test('reads a whole scheduler, and does not look at the rest of it', () => {
    const scheduler = {
      name: 'arena',
      game: 'arena',
      state: 'in-sync',
      spec: { containers: [] },
      forwarders: [{}],
      autoscaling,
    };
    expect(readBacktestPolicy(scheduler).autoscaling).toMatchObject({ max: 10 });
  });

  test('reads our extensions', () => {
    const extensions = {
      autoscaling: { schedule: { windows: [{ cron: '0 18 * * 5', durationSeconds: 60, min: 5 }] } },
    };
    const scheduled = { ...autoscaling, policy: { type: 'schedule', parameters: {} } };
    const read = readBacktestPolicy({ autoscaling: scheduled, extensions });
    expect(read.extensions?.autoscaling?.schedule?.windows).toMatchObject([{ timezone: 'UTC', min: 5 }]);
  });

  test.each<[string, JsonValue, string]>([
    ['what is no object', [], 'it is no JSON object'],
    [
      'a word that no scheduler has',
      { autoscalling: {} },
      'a scheduler has no field autoscalling; a policy has autoscaling,',
    ],
    ['nothing', { maxSurge: '5' }, 'neither autoscaling nor roomsReplicas'],
    ['a wrong type', { autoscaling: { ...autoscaling, min: 'few' } }, 'field "autoscaling.min"'],
    [
      'a word that no extension has',
      { autoscaling, extensions: { autoscaling: { scaleUpStabilisationSeconds: 30 } } },
      'field "extensions.autoscaling.scaleUpStabilisationSeconds": unknown field, did you mean scaleUpStabilizationSeconds?',
    ],
    ['what validation refuses', { autoscaling: { ...autoscaling, min: 20 } }, 'Min must be a number lower than Max'],
    [
      'a policy without its parameters',
      { autoscaling: { ...autoscaling, policy: { type: 'schedule', parameters: {} } } },
      'Schedule is a required field of the policy type schedule',
    ],
  ])('refuses %s', (_, json, message) => {
    expect(() => readBacktestPolicy(json)).toThrow(message);
  });
});
