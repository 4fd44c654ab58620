import { openRedisNotices } from '../support/open-redis-notices';
import { describeNotices } from './notices.contract';

describeNotices('RedisNotices', () => openRedisNotices());
