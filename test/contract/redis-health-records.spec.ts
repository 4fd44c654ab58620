import { openRedisHealthRecords } from '../support/open-redis-health-records';
import { describeHealthRecords } from './health-records.contract';

describeHealthRecords('RedisHealthRecords', () => openRedisHealthRecords());
