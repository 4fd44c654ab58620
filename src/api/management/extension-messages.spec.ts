import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { JsonObject } from '@bufbuild/protobuf';
import type { SchedulerExtensions } from '../../domain/scheduler/scheduler';
import { fullExtensions } from '../../domain/scheduler/scheduler.fixture';
import { PatchSchedulerExtensionsSchema } from '../../proto/gen/maestro/extensions/v1/patch_scheduler_extensions_pb';
import { SchedulerExtensionsSchema } from '../../proto/gen/maestro/extensions/v1/scheduler_extensions_pb';
import { decodeMessage, encodeMessage } from '../http/protojson';
import { extensionsFromMessage, extensionsMessage } from './extension-messages';

const read = (json: JsonObject): SchedulerExtensions =>
  extensionsFromMessage(decodeMessage(SchedulerExtensionsSchema, json));
const shown = (extensions: SchedulerExtensions): JsonObject =>
  encodeMessage(SchedulerExtensionsSchema, create(SchedulerExtensionsSchema, extensionsMessage(extensions)));
/** By the way of gRPC: to bytes and back. */
const overBytes = (extensions: SchedulerExtensions): SchedulerExtensions => {
  const message = create(SchedulerExtensionsSchema, extensionsMessage(extensions));
  return extensionsFromMessage(fromBinary(SchedulerExtensionsSchema, toBinary(SchedulerExtensionsSchema, message)));
};

const somePolicies: SchedulerExtensions = { autoscaling: { chain: { policies: [{ type: 'fixedBuffer' }] } } };

describe('extensions on the wire', () => {
  it.each<[string, SchedulerExtensions]>([
    ['everything', fullExtensions()],
    ['nothing', {}],
    ['empty parts', { autoscaling: {}, rollout: {}, drain: {} }],
    ['what is false or 0', { autoscaling: { scaleUpStabilizationSeconds: 0 }, rollout: { automaticRollback: false } }],
    ['a policy without parameters', somePolicies],
    ['shares that no 32-bit float holds', { rollout: { failureShare: 0.1 } }],
  ])('come back as they were: %s', (_, extensions) => {
    expect(read(shown(extensions))).toEqual(extensions);
    expect(overBytes(extensions)).toEqual(extensions);
  });

  it('have the names and units of the domain, and shares as they were typed', () => {
    expect(shown(fullExtensions())).toEqual(fullExtensions());
  });

  it('are read by the names of the .proto file too', () => {
    expect(read({ drain: { deadline_seconds: '60' }, rollout: { failure_share: '0.3' } })).toEqual({
      drain: { deadlineSeconds: 60 },
      rollout: { failureShare: 0.3 },
    });
  });

  it.each<[string, JsonObject, SchedulerExtensions]>([
    ['extensions', {}, {}],
    ['parts that are null', { autoscaling: null, rollout: null, drain: null }, {}],
    [
      'a window',
      { autoscaling: { schedule: { windows: [{}] } } },
      {
        autoscaling: { schedule: { windows: [{ cron: '', timezone: 'UTC', durationSeconds: 0, min: 0, buffer: 0 }] } },
      },
    ],
    [
      'a webhook',
      { autoscaling: { webhook: {} } },
      { autoscaling: { webhook: { url: '', timeoutMs: 1000, maxAnswerAgeSeconds: 300 } } },
    ],
    [
      'a webhook with zeros, which are said',
      { autoscaling: { webhook: { timeoutMs: 0, maxAnswerAgeSeconds: 0 } } },
      { autoscaling: { webhook: { url: '', timeoutMs: 0, maxAnswerAgeSeconds: 0 } } },
    ],
    [
      "an occupancy, whose threshold of 0 is none as in v10's",
      { autoscaling: { chain: { policies: [{ roomOccupancy: { readyTarget: 0.2, downThreshold: 0 } }] } } },
      {
        autoscaling: {
          chain: { policies: [{ type: '', roomOccupancy: { readyTarget: 0.2, downThreshold: 0.99 } }] },
        },
      },
    ],
  ])('have defaults for what lacks in %s', (_, json, expected) => {
    expect(read(json)).toEqual(expected);
  });

  it('refuse a schedule under a schedule, which the wire has no field for', () => {
    const base = { type: 'schedule', schedule: { windows: [] } };
    expect(() => read({ autoscaling: { schedule: { windows: [], base } } })).toThrow(
      'field "autoscaling.schedule.base.schedule": unknown field',
    );
  });

  it('have the same fields in a patch, under the same numbers, beside what it clears', () => {
    const message = create(SchedulerExtensionsSchema, extensionsMessage(fullExtensions()));
    const patch = fromBinary(PatchSchedulerExtensionsSchema, toBinary(SchedulerExtensionsSchema, message));
    expect(extensionsFromMessage(patch)).toEqual(fullExtensions());
    expect(patch.clear).toEqual([]);
    const field = ({ number, name }: { number: number; name: string }) => `${number} ${name}`;
    expect(PatchSchedulerExtensionsSchema.fields.map(field)).toEqual([
      '1 clear',
      ...SchedulerExtensionsSchema.fields.map(field),
    ]);
  });
});
