import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP port in front of another one, that can count connections, and fall silent as a broken network does. */
export class TcpGate {
  /** Connections that were made so far. */
  accepted = 0;
  /** Ends of clients that are open now. */
  readonly open = new Set<Socket>();
  /** What clients have sent so far, in bytes. */
  bytes = 0;
  /** New connections are accepted, and nothing comes through. */
  isMute = false;
  private readonly pairs = new Set<[Socket, Socket]>();
  private readonly server: Server;

  /** `targetPort`: where connections lead that are made from now on. */
  private constructor(public targetPort: number) {
    // Without delay: calls in several small packets would each wait for the acknowledgement of the one before.
    this.server = createServer({ noDelay: true }, (client) => this.accept(client));
  }

  /** On any free port, unless one is given. */
  static async start(targetPort: number, ownPort = 0): Promise<TcpGate & { port: number; address: string }> {
    const gate = new TcpGate(targetPort);
    await new Promise<void>((resolve) => gate.server.listen(ownPort, '127.0.0.1', resolve));
    const { port } = gate.server.address() as { port: number };
    return Object.assign(gate, { port, address: `127.0.0.1:${port}` });
  }

  /** Nothing comes through the connections that are open now, and they do not end. */
  freeze(): void {
    for (const [client, target] of this.pairs) {
      client.unpipe(target).resume();
      target.unpipe(client).resume();
    }
  }

  async stop(): Promise<void> {
    for (const client of this.open) client.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private accept(client: Socket): void {
    this.accepted++;
    this.open.add(client);
    client.on('error', () => undefined);
    client.once('close', () => this.open.delete(client));
    if (this.isMute) {
      client.resume();
      return;
    }
    const target = connect({ port: this.targetPort, host: '127.0.0.1', noDelay: true });
    const pair: [Socket, Socket] = [client, target];
    this.pairs.add(pair);
    target.on('error', () => client.destroy());
    client.once('close', () => target.destroy());
    target.once('close', () => {
      client.destroy();
      this.pairs.delete(pair);
    });
    client.on('data', ({ length }: Buffer) => (this.bytes += length));
    client.pipe(target).pipe(client);
  }
}
