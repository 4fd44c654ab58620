import { createServer as createHttpServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { testCertificate, testCertificateKey } from './test-certificate';

/** A question as a service of a test received it. */
export interface ReceivedQuestion {
  method: string | undefined;
  path: string | undefined;
  headers: IncomingMessage['headers'];
  body: string;
}

/** Real HTTP servers of this machine that play the services behind webhooks. */
export class WebhookServices {
  private readonly servers: Server[] = [];
  private readonly questions = new Map<string, ReceivedQuestion[]>();

  /** A service that answers as `listener` does, once it has read the question; answers its URL. */
  async open(listener: RequestListener, { tls = false }: { tls?: boolean } = {}): Promise<string> {
    const received: ReceivedQuestion[] = [];
    const answer: RequestListener = (request, response) => {
      void text(request).then((body) => {
        const { method, url: path, headers } = request;
        received.push({ method, path, headers, body });
        listener(request, response);
      });
    };
    const certificate = { cert: testCertificate, key: testCertificateKey };
    const server = tls ? createHttpsServer(certificate, answer) : createHttpServer(answer);
    this.servers.push(server);
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as AddressInfo;
    const url = `${tls ? 'https' : 'http'}://127.0.0.1:${port}/rooms`;
    this.questions.set(url, received);
    return url;
  }

  /** A URL where nobody listens any more. */
  async nowhere(): Promise<string> {
    const url = await this.open(() => undefined);
    const server = this.servers.pop();
    await new Promise((done) => server?.close(done));
    return url;
  }

  received(url: string): ReceivedQuestion[] {
    return this.questions.get(url) ?? [];
  }

  /** Ends the connections that are open, as a restart does. */
  dropConnections(): void {
    for (const server of this.servers) server.closeAllConnections();
  }

  async close(): Promise<void> {
    for (const server of this.servers) {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    }
  }
}
