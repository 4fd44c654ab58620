import { create } from '@bufbuild/protobuf';
import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { CreateSchedulerRequestSchema, PatchSchedulerRequestSchema } from '../../proto/gen/api/v1/schedulers_pb';
import { refuseNulText } from './refuse-nul-text';

const nul = 'a\0b';

describe('refuseNulText', () => {
  function row<Desc extends DescMessage>(
    where: string,
    schema: Desc,
    init: MessageInitShape<Desc>,
  ): [string, () => void] {
    return [where, () => refuseNulText(schema, create(schema, init))];
  }

  it.each([
    row('name', CreateSchedulerRequestSchema, { name: nul }),
    row('maxSurge', PatchSchedulerRequestSchema, { maxSurge: nul }),
    row('spec.toleration', CreateSchedulerRequestSchema, { spec: { toleration: nul } }),
    row('spec.containers[1].command[0]', CreateSchedulerRequestSchema, {
      spec: { containers: [{}, { command: [nul] }] },
    }),
    row('spec.containers[0].environment[0].value', CreateSchedulerRequestSchema, {
      spec: { containers: [{ environment: [{ value: nul }] }] },
    }),
    row('labels.key', CreateSchedulerRequestSchema, { labels: { key: nul } }),
    row('annotations', CreateSchedulerRequestSchema, { annotations: { [nul]: '' } }),
    row('stringValue', ValueSchema, { kind: { case: 'stringValue', value: nul } }),
  ])('names the field %s', (where, refuse) => {
    expect(refuse).toThrow(`malformed request: field "${where}": text must not contain a NUL character`);
  });

  it.each([
    row('an empty message', CreateSchedulerRequestSchema, {}),
    row('other control characters', CreateSchedulerRequestSchema, { name: '\u0001\n', labels: { a: '0' } }),
    row('a choice that is no text', ValueSchema, { kind: { case: 'numberValue', value: 0 } }),
  ])('lets %s pass', (_what, refuse) => {
    expect(refuse).not.toThrow();
  });
});
