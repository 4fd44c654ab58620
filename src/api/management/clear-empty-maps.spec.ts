import type { JsonValue } from '@bufbuild/protobuf';
import { NewSchedulerVersionRequestSchema, PatchSchedulerRequestSchema } from '../../proto/gen/api/v1/schedulers_pb';
import { decodeMessage, encodeMessage } from '../http/protojson';
import { clearEmptyMaps } from './clear-empty-maps';

describe('clearEmptyMaps', () => {
  it.each<[string, JsonValue, string[] | undefined]>([
    ['empty maps', { labels: {}, annotations: {} }, ['annotations', 'labels']],
    ['one empty map', { labels: {}, annotations: { a: 'b' } }, ['labels']],
    ['maps with entries', { labels: { a: 'b' } }, undefined],
    ['maps that are null', { labels: null, annotations: null }, undefined],
    ['no maps', { maxSurge: '1' }, undefined],
    [
      'an empty map beside other extensions',
      { labels: {}, extensions: { clear: ['portRange'] } },
      ['portRange', 'labels'],
    ],
    ['an empty map beside null extensions', { labels: {}, extensions: null }, ['labels']],
    ['an empty map that is cleared too', { labels: {}, extensions: { clear: ['labels'] } }, ['labels']],
    ['null', null, undefined],
    ['a list', [], undefined],
  ])('reads %s', (_what, json, clear) => {
    const message = decodeMessage(
      PatchSchedulerRequestSchema,
      json !== null && !Array.isArray(json) ? json : undefined,
    );
    clearEmptyMaps(message, json);
    expect(message.extensions?.clear).toEqual(clear);
  });

  it('leaves a whole definition as it is', () => {
    const message = decodeMessage(NewSchedulerVersionRequestSchema, { labels: {} });
    clearEmptyMaps(message, { labels: {} });
    expect(encodeMessage(NewSchedulerVersionRequestSchema, message)).not.toHaveProperty('extensions');
  });
});
