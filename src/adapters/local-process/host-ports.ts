import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

/**
 * Whether a port can be bound now, on all IPv4 addresses. Another program may still take it before the room does; the room
 * then ends and is replaced. What cannot be tried (SCTP) counts as free.
 */
export function canBind(protocol: string, port: number): Promise<boolean> {
  switch (protocol.toUpperCase()) {
    case 'UDP':
      return new Promise((resolve) => {
        const socket = createSocket('udp4');
        socket.once('error', () => {
          socket.close();
          resolve(false);
        });
        socket.bind({ port, address: '0.0.0.0', exclusive: true }, () => socket.close(() => resolve(true)));
      });
    case 'TCP':
      return new Promise((resolve) => {
        const server = createServer();
        server.once('error', () => resolve(false));
        server.listen({ port, host: '0.0.0.0', exclusive: true }, () => server.close(() => resolve(true)));
      });
    default:
      return Promise.resolve(true);
  }
}
