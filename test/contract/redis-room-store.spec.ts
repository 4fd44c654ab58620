import { openRedisRoomStore } from '../support/open-redis-room-store';
import { describeRoomStore } from './room-store.contract';

describeRoomStore('RedisRoomStore on the best server here', () => openRedisRoomStore());
