import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';

/** What one command gets: raw RESP (`+OK\r\n`), or null for silence. */
export type ScriptedAnswer = (command: { name: string; args: string[]; connection: number }) => string | null;

export interface ScriptedRedisServer {
  port: number;
  /** Names of the commands of each connection so far, connections counted from 1. */
  received: Map<number, string[]>;
  stop(): Promise<void>;
}

/**
 * Speaks Redis' protocol and answers as a test says, to show what a real server does only in a fail-over. The handshake
 * (INFO, CLIENT) is answered by itself.
 */
export async function startScriptedRedisServer(
  answer: ScriptedAnswer,
  options: { tls?: { key: string; cert: string }; port?: number } = {},
): Promise<ScriptedRedisServer> {
  const received = new Map<number, string[]>();
  const sockets = new Set<Socket>();
  const serve = (socket: Socket): void => {
    const connection = received.size + 1;
    const names: string[] = [];
    received.set(connection, names);
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
    let pending = '';
    socket.on('data', (chunk) => {
      const { commands, rest } = readCommands(pending + chunk.toString('latin1'));
      pending = rest;
      for (const [name = '', ...args] of commands) {
        if (/^(info|client)$/i.test(name)) {
          socket.write(/^info$/i.test(name) ? '$9\r\nloading:0\r\n' : '+OK\r\n');
          continue;
        }
        names.push(name.toLowerCase());
        const reply = answer({ name: name.toLowerCase(), args, connection });
        if (reply !== null) socket.write(reply);
      }
    });
  };
  const server: Server = options.tls === undefined ? createServer(serve) : createTlsServer(options.tls, serve);
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    received,
    stop: () => {
      sockets.forEach((socket) => socket.destroy());
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Splits `*2\r\n$3\r\nGET\r\n$1\r\na\r\n...` into commands and what is not complete yet. */
function readCommands(text: string): { commands: string[][]; rest: string } {
  const commands: string[][] = [];
  let at = 0;
  for (;;) {
    const head = /\*(\d+)\r\n/y;
    head.lastIndex = at;
    const count = head.exec(text);
    if (count === null) return { commands, rest: text.slice(at) };
    let place = head.lastIndex;
    const words: string[] = [];
    while (words.length < Number(count[1])) {
      const size = /\$(\d+)\r\n/y;
      size.lastIndex = place;
      const length = size.exec(text);
      const end = length === null ? Infinity : size.lastIndex + Number(length[1]) + 2;
      if (end > text.length) return { commands, rest: text.slice(at) };
      words.push(text.slice(size.lastIndex, end - 2));
      place = end;
    }
    commands.push(words);
    at = place;
  }
}
