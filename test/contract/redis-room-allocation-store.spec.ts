import { openRedisRoomAllocationStore } from '../support/open-redis-room-allocation-store';
import { describeRoomAllocationStore } from './room-allocation-store.contract';

describeRoomAllocationStore('RedisRoomAllocationStore on the best server here', () => openRedisRoomAllocationStore());
