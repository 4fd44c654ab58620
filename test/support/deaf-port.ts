import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/**
 * Listens, fills the system's queue of connections, and sleeps: further ones are never answered. In a thread of its own,
 * because the queue stays full only while nobody looks at it.
 */
const listener = `
  const { connect, createServer } = require('node:net');
  const { parentPort } = require('node:worker_threads');
  const server = createServer();
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    const { port } = server.address();
    for (let count = 0; count < 5; count++) connect(port, '127.0.0.1');
    // After their calls to the system, which are made on the next tick too.
    process.nextTick(() => {
      parentPort.postMessage(port);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });
  });
`;

/** A port as behind a firewall that drops what comes: connecting to it gets no answer at all. On Linux. */
export async function openDeafPort(): Promise<{ address: string; stop(): Promise<void> }> {
  const worker = new Worker(listener, { eval: true });
  const [port] = (await once(worker, 'message')) as [number];
  return { address: `127.0.0.1:${port}`, stop: async () => void (await worker.terminate()) };
}
