import { RedisRoomAllocationStore } from '../../src/adapters/redis/redis-room-allocation-store';
import { RedisRoomChanges } from '../../src/adapters/redis/redis-room-changes';
import type { RoomChangesUnderTest } from '../contract/room-changes.contract';
import { openRedisRoomStore } from './open-redis-room-store';
import { RecordedLog } from './recorded-log';

const name = 'test-room-changes';

/** News of rooms on a Redis of their own. */
export async function openRedisRoomChanges(
  kind?: Parameters<typeof openRedisRoomStore>[0],
): Promise<RoomChangesUnderTest> {
  const { redis, url, store, ...under } = await openRedisRoomStore(kind);
  const followers = async (): Promise<string[]> => {
    const lines = String(await redis.call('CLIENT', 'LIST')).split('\n');
    return lines.flatMap((line) => (line.includes(` name=${name} `) ? [/\bid=(\d+)/.exec(line)![1]!] : []));
  };
  return {
    changes: new RedisRoomChanges({ url, name, waitMs: 1_000 }, new RecordedLog()),
    rooms: store,
    allocations: new RedisRoomAllocationStore(redis),
    breakConnections: async () => {
      for (const id of await followers()) await redis.call('CLIENT', 'KILL', 'ID', id);
    },
    connections: async () => (await followers()).length,
    loseEverything: () => under.loseEverything(),
    close: () => under.close(),
  };
}
