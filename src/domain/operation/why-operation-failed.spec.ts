import { whyOperationFailed } from './why-operation-failed';

const undone = [
  'operation execution failed',
  'Starting operation rollback',
  'Operation rollback flow execution finished with success',
  'Operation finished',
];

describe('whyOperationFailed', () => {
  test.each<[string, string[], 'canceled' | 'error', string]>([
    [
      'all attempts failed: with the last of them',
      [
        'Created',
        'attempt 1 of 2: validation failed, room arena-1 is error',
        'attempt 2 of 2: validation room arena-2 started',
        'attempt 2 of 2: validation failed, room arena-2 ended, the reason is "exited with code 127"',
        'all 2 validation attempts failed: version v2.0.0 is not made, v1.0.0 stays the active one',
        ...undone,
      ],
      'error',
      'all 2 validation attempts failed: version v2.0.0 is not made, v1.0.0 stays the active one; attempt 2 of 2: validation failed, room arena-2 ended, the reason is "exited with code 127"',
    ],
    [
      'anything else: the line before it is undone',
      ['Created', 'Starting operation', 'version v9.0.0 not found', ...undone],
      'error',
      'version v9.0.0 not found',
    ],
    [
      'an undoing that failed, too, changes nothing',
      [
        'Created',
        'no such image',
        'operation execution failed',
        'Starting operation rollback',
        'Operation rollback flow execution failed, reason: the runtime is away',
        'Operation finished',
      ],
      'error',
      'no such image',
    ],
    [
      'canceled while it ran: by whom',
      [
        'Created',
        'Starting operation',
        'cancellation requested through the API',
        'attempt 1 of 3: validation room arena-1 started',
        'context canceled',
        ...undone.slice(1),
      ],
      'canceled',
      'cancellation requested through the API',
    ],
    [
      'canceled before it began',
      ['Created', 'cancellation requested: the scheduler is being deleted'],
      'canceled',
      'cancellation requested: the scheduler is being deleted',
    ],
    ['a history that is lost', [], 'error', ''],
  ])('%s', (_, history, status, reason) => {
    expect(whyOperationFailed(history, status)).toBe(reason);
  });
});
