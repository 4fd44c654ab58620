import { composeRoomStatus } from './compose-room-status';
import { instanceStatuses, pingStatuses, type InstanceStatus, type PingStatus, type RoomStatus } from './room';

describe('composeRoomStatus', () => {
  const rows: [PingStatus, InstanceStatus, RoomStatus][] = [
    ['unknown', 'unknown', 'pending'],
    ['unknown', 'pending', 'pending'],
    ['unknown', 'ready', 'unready'],
    ['unknown', 'terminating', 'terminating'],
    ['unknown', 'error', 'error'],
    ['ready', 'unknown', 'pending'],
    ['ready', 'pending', 'pending'],
    ['ready', 'ready', 'ready'],
    ['ready', 'terminating', 'terminating'],
    ['ready', 'error', 'error'],
    ['occupied', 'unknown', 'pending'],
    ['occupied', 'pending', 'pending'],
    ['occupied', 'ready', 'occupied'],
    ['occupied', 'terminating', 'terminating'],
    ['occupied', 'error', 'error'],
    ['terminating', 'unknown', 'terminating'],
    ['terminating', 'pending', 'terminating'],
    ['terminating', 'ready', 'terminating'],
    ['terminating', 'terminating', 'terminating'],
    ['terminating', 'error', 'error'],
    ['terminated', 'unknown', 'terminated'],
    ['terminated', 'pending', 'terminated'],
    ['terminated', 'ready', 'terminated'],
    ['terminated', 'terminating', 'terminated'],
    ['terminated', 'error', 'error'],
  ];

  test.each(rows)('a room that says %s on an instance that is %s is %s', (ping, instance, expected) => {
    expect(composeRoomStatus(ping, instance)).toBe(expected);
  });

  test('the table above has every pair once', () => {
    const pairs = pingStatuses.flatMap((ping) => instanceStatuses.map((instance) => `${ping} ${instance}`));
    expect(rows.map(([ping, instance]) => `${ping} ${instance}`).sort()).toEqual(pairs.sort());
  });
});
