import { openRedisRoomChanges } from '../support/open-redis-room-changes';
import { describeRoomChanges } from './room-changes.contract';

describeRoomChanges('RedisRoomChanges', () => openRedisRoomChanges());
