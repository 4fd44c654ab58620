import { createServer } from 'node:net';

/**
 * The preferred TCP port of 127.0.0.1 if nobody listens on it, else any free one; 0 asks for any. Another program may
 * take the port before it is used: callers start anew with another one then.
 */
export async function chooseFreePort(preferred: number): Promise<number> {
  return (await tryPort(preferred)) ?? (await tryPort(0)) ?? preferred;
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(undefined));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' ? address?.port : undefined));
    });
  });
}
