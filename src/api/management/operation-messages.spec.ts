import { create } from '@bufbuild/protobuf';
import type { Operation, OperationDefinition, OperationInputs } from '../../domain/operation/operation';
import { aDefinition } from '../../domain/scheduler/scheduler.fixture';
import { ListOperationItemSchema, OperationSchema } from '../../proto/gen/api/v1/operations_pb';
import { OperationDetailsSchema } from '../../proto/gen/maestro/v1/operation_details_pb';
import { encodeMessage } from '../http/protojson';
import { operationDetailsMessage, operationItemMessage, operationMessage } from './operation-messages';

function operation<D extends OperationDefinition>(
  definition: D,
  input: OperationInputs[D],
  more: Partial<Operation> = {},
): Operation {
  return {
    id: '1b6f2c9e-6a0e-4c1c-9a55-5f1f0a3c8d10',
    scheduler: 'arena',
    definition,
    input,
    status: 'finished',
    attempt: 1,
    actor: 'api',
    reason: '',
    createdAt: new Date('2026-05-01T10:00:00.123Z'),
    startedAt: null,
    finishedAt: null,
    cancelRequestedAt: null,
    waiting: false,
    leaseExpiresAt: null,
    ...more,
  };
}

const asOperation = (...[value, history]: Parameters<typeof operationMessage>) =>
  encodeMessage(OperationSchema, create(OperationSchema, operationMessage(value, history)));
const asItem = (...[value, stage]: Parameters<typeof operationItemMessage>) =>
  encodeMessage(ListOperationItemSchema, create(ListOperationItemSchema, operationItemMessage(value, stage)));

describe('operationMessage', () => {
  it.each<[string, Operation, object]>([
    [
      'create_scheduler',
      operation('create_scheduler', { scheduler: { Name: 'arena', PortRange: null } }),
      { scheduler: { Name: 'arena', PortRange: null } },
    ],
    [
      'create_new_scheduler_version',
      operation('create_new_scheduler_version', { scheduler: { Name: 'arena' }, definition: aDefinition() }),
      { scheduler: { Name: 'arena' } },
    ],
    [
      'switch_active_version',
      operation('switch_active_version', { newActiveVersion: 'v1.0.0' }),
      { newActiveVersion: 'v1.0.0' },
    ],
    ['delete_scheduler', operation('delete_scheduler', {}), {}],
    ['add_rooms', operation('add_rooms', { amount: 3 }), { amount: 3 }],
    [
      'remove_rooms',
      operation('remove_rooms', { amount: 2, roomIds: ['a', 'b'], reason: 'scale_down' }),
      { amount: 2, rooms_ids: ['a', 'b'], reason: 'scale_down' },
    ],
    ['health_controller before it ran', operation('health_controller', {}), {}],
    ['health_controller that acted', operation('health_controller', { tookAction: true }), { took_action: true }],
    ['health_controller that did not', operation('health_controller', { tookAction: false }), { took_action: false }],
  ])('shows the input of %s as v10 does', (_name, value, input) => {
    expect(asOperation(value, [])['input']).toEqual(input);
  });

  it('shows everything else, and no lease even when there is one', () => {
    const value = operation('add_rooms', { amount: 1 }, { status: 'in_progress', leaseExpiresAt: new Date() });
    const history = [{ createdAt: new Date('2026-05-01T10:00:01Z'), event: 'Created' }];
    expect(asOperation(value, history)).toEqual({
      id: '1b6f2c9e-6a0e-4c1c-9a55-5f1f0a3c8d10',
      status: 'in_progress',
      definitionName: 'add_rooms',
      schedulerName: 'arena',
      createdAt: '2026-05-01T10:00:00.123Z',
      input: { amount: 1 },
      executionHistory: [{ createdAt: '2026-05-01T10:00:01Z', event: 'Created' }],
    });
  });
});

describe('operationItemMessage', () => {
  const leased = operation('add_rooms', { amount: 1 }, { leaseExpiresAt: new Date('2026-05-01T10:00:05.987Z') });

  it('shows the lease of an active operation in whole seconds', () => {
    expect(asItem(leased, 'active')).toEqual({
      id: '1b6f2c9e-6a0e-4c1c-9a55-5f1f0a3c8d10',
      status: 'finished',
      definitionName: 'add_rooms',
      lease: { ttl: '2026-05-01T10:00:05Z' },
      schedulerName: 'arena',
      createdAt: '2026-05-01T10:00:00.123Z',
    });
  });

  it.each([
    ['in another stage', leased, 'final'],
    ['without a holder', operation('add_rooms', { amount: 1 }), 'active'],
  ])('shows no lease %s', (_name, value, stage) => {
    expect(asItem(value, stage)).not.toHaveProperty('lease');
  });
});

describe('operationDetailsMessage', () => {
  const asDetails = (value: Operation) =>
    encodeMessage(OperationDetailsSchema, create(OperationDetailsSchema, operationDetailsMessage(value)));
  const pending = operation('add_rooms', { amount: 3 }, { status: 'pending', attempt: 0, actor: 'health_controller' });

  it('tells nothing of what has not happened yet', () => {
    expect(asDetails(pending)).toEqual({
      id: '1b6f2c9e-6a0e-4c1c-9a55-5f1f0a3c8d10',
      schedulerName: 'arena',
      definitionName: 'add_rooms',
      status: 'pending',
      actor: 'health_controller',
      reason: '',
      attempt: 0,
      waiting: false,
      createdAt: '2026-05-01T10:00:00.123Z',
    });
  });

  it.each<[string, Partial<Operation>, object]>([
    ['why', { reason: 'version v1.1.0 is stored' }, { reason: 'version v1.1.0 is stored' }],
    ['which attempt it is', { attempt: 3 }, { attempt: 3 }],
    ['that it waits', { status: 'in_progress', waiting: true }, { status: 'in_progress', waiting: true }],
    ['when it began', { startedAt: new Date('2026-05-01T10:00:01Z') }, { startedAt: '2026-05-01T10:00:01Z' }],
    [
      'when it ended',
      { status: 'error', finishedAt: new Date('2026-05-01T10:00:07.89Z') },
      { status: 'error', finishedAt: '2026-05-01T10:00:07.890Z' },
    ],
    [
      'when someone wanted it canceled',
      { cancelRequestedAt: new Date('2026-05-01T10:00:05Z') },
      { cancelRequestedAt: '2026-05-01T10:00:05Z' },
    ],
  ])('tells %s', (_, more, told) => {
    expect(asDetails({ ...pending, ...more })).toEqual({ ...asDetails(pending), ...told });
  });
});
