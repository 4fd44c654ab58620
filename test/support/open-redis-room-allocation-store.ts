import { RedisRoomAllocationStore } from '../../src/adapters/redis/redis-room-allocation-store';
import type { RoomAllocationStoreUnderTest } from '../contract/room-allocation-store.contract';
import { openRedisRoomStore, type RedisRoomStoreUnderTest } from './open-redis-room-store';

export type RedisRoomAllocationStoreUnderTest = RoomAllocationStoreUnderTest &
  Omit<RedisRoomStoreUnderTest, 'store'> & { store: RedisRoomAllocationStore };

/** A RedisRoomAllocationStore beside a RedisRoomStore, on a server of their own. */
export async function openRedisRoomAllocationStore(
  kind?: Parameters<typeof openRedisRoomStore>[0],
): Promise<RedisRoomAllocationStoreUnderTest> {
  const { store: rooms, ...under } = await openRedisRoomStore(kind);
  return { ...under, rooms, store: new RedisRoomAllocationStore(under.redis) };
}
