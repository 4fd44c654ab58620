import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { JsonValue } from '@bufbuild/protobuf';
import { readBacktestPolicy } from '../../src/api/management/backtest-policy';
import { definitionFromMessage } from '../../src/api/management/scheduler-messages';
import { decodeMessage } from '../../src/api/http/protojson';
import { validateScheduler } from '../../src/domain/scheduler/validate-scheduler';
import { CreateSchedulerRequestSchema } from '../../src/proto/gen/api/v1/schedulers_pb';

const root = resolve(__dirname, '../../examples');
const read = (path: string): JsonValue => JSON.parse(readFileSync(resolve(root, path), 'utf8')) as JsonValue;
const jsonFiles = (folder: string): string[] =>
  readdirSync(resolve(root, folder)).filter((name) => name.endsWith('.json'));

describe('examples/schedulers', () => {
  test.each(jsonFiles('schedulers'))('%s is accepted as it is', (name) => {
    const message = decodeMessage(CreateSchedulerRequestSchema, read(`schedulers/${name}`));
    expect(`${message.name}.json`).toBe(name);
    expect(validateScheduler(message.name, definitionFromMessage(message))).toEqual([]);
  });

  test('no two of them share host ports', () => {
    const ranges = jsonFiles('schedulers').map((name) => {
      const { portRange } = decodeMessage(CreateSchedulerRequestSchema, read(`schedulers/${name}`));
      return [portRange?.start ?? 0, portRange?.end ?? 0] as const;
    });
    const sorted = ranges.sort(([one], [other]) => one - other);
    for (const [index, [start]] of sorted.entries()) {
      if (index > 0) expect(start).toBeGreaterThan(sorted[index - 1]![1]);
    }
  });

  test('arena-evenings.json says what it wants, beside its comments', () => {
    const message = decodeMessage(CreateSchedulerRequestSchema, read('schedulers/arena-evenings.json'));
    expect(definitionFromMessage(message).extensions).toEqual({
      autoscaling: {
        schedule: {
          windows: [{ cron: '50 17 * * *', timezone: 'Europe/Berlin', durationSeconds: 18_000, min: 8, buffer: 0 }],
          base: { type: 'fixedBuffer', fixedBuffer: { amount: 2 } },
        },
        scaleDownStabilizationSeconds: 60,
      },
      rollout: { failureShare: 0.25, failureWindowSeconds: 300 },
      drain: { deadlineSeconds: 3600 },
    });
  });
});

describe('policies of backtests', () => {
  test.each([...jsonFiles('backtest').map((name) => `backtest/${name}`), 'schedulers/arena-evenings.json'])(
    '%s is one',
    (path) => {
      expect(readBacktestPolicy(read(path)).autoscaling?.enabled).toBe(true);
    },
  );
});
