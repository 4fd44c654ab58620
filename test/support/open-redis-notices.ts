import { closeRedisConnection, createRedisConnection } from '../../src/adapters/redis/redis-connection';
import { RedisNotices } from '../../src/adapters/redis/redis-notices';
import { noticeChannel } from '../../src/adapters/redis/room-keys';
import type { NoticesUnderTest } from '../contract/notices.contract';
import { startTestRedis } from './embedded-servers';
import { RecordedLog } from './recorded-log';
import { TcpGate } from './tcp-gate';

/** Notices of a Redis of their own, behind a gate that can break. */
export async function openRedisNotices(kind?: Parameters<typeof startTestRedis>[0]): Promise<NoticesUnderTest> {
  const server = await startTestRedis(kind);
  const sender = createRedisConnection({ url: server.url, name: 'test-sender' });
  const url = new URL(server.url);
  const gate = await TcpGate.start(Number(url.port));
  url.port = String(gate.port);
  const log = new RecordedLog();
  const open = (): RedisNotices =>
    new RedisNotices({ url: url.toString(), name: 'test-notices', livenessMs: 200 }, log);
  return {
    notices: open(),
    others: open(),
    log,
    send: (address, text) => sender.publish(noticeChannel(address), text),
    breakConnections: () => gate.open.forEach((socket) => socket.destroy()),
    freezeConnections: () => gate.freeze(),
    close: async () => {
      await gate.stop();
      await closeRedisConnection(sender);
      await server.stop();
    },
  };
}
