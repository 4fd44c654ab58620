import { openRedisHostPortReservations } from '../support/open-redis-host-port-reservations';
import { describeHostPortReservations } from './host-port-reservations.contract';

describeHostPortReservations('RedisHostPortReservations on js-redis-server', () => openRedisHostPortReservations('js'));
