import type { RequestListener } from 'node:http';
import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import {
  HttpDesiredRoomsWebhook,
  type HttpWebhookOptions,
} from '../../src/adapters/http-webhook/http-desired-rooms-webhook';
import { settings } from '../../src/config/settings';
import { aQuestion } from '../contract/desired-rooms-webhook.contract';
import { testCertificate } from '../support/test-certificate';
import { WebhookServices } from '../support/webhook-services';

/** Resolves names that are given, and others as this machine does. */
function pretendLookup(names: Record<string, string>): LookupFunction {
  return (hostname, options, callback) => {
    const address = names[hostname];
    if (address === undefined) systemLookup(hostname, options, callback);
    else if (options.all) callback(null, [{ address, family: address.includes(':') ? 6 : 4 }]);
    else callback(null, address, address.includes(':') ? 6 : 4);
  };
}

describe('webhook for desired rooms, over HTTP', () => {
  const services = new WebhookServices();
  const webhooks: HttpDesiredRoomsWebhook[] = [];

  afterAll(async () => {
    for (const webhook of webhooks) await webhook.close();
    await services.close();
  });

  function open(options: Partial<HttpWebhookOptions> = {}): HttpDesiredRoomsWebhook {
    const webhook = new HttpDesiredRoomsWebhook({ allowGuardedAddresses: false, ...options });
    webhooks.push(webhook);
    return webhook;
  }
  const ask = (webhook: HttpDesiredRoomsWebhook, url: string, timeoutMs = 30_000) =>
    webhook.ask({ url, timeoutMs }, aQuestion);
  const answerTwelve: RequestListener = (_, response) => response.end('{"desired":12}');

  it('posts the question as JSON', async () => {
    const url = await services.open(answerTwelve);
    expect(await ask(open(), `${url}?token=secret`)).toEqual({ answered: true, desired: 12 });
    const [received] = services.received(url);
    expect(received).toMatchObject({
      method: 'POST',
      path: '/rooms?token=secret',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
    });
    expect(JSON.parse(received?.body ?? '')).toEqual({
      scheduler: 'arena',
      version: 'v1.0.0',
      rooms: aQuestion.counts.rooms,
      runningMatches: 0,
      maxMatches: 1,
      roomsReplicas: 3,
      min: 1,
      max: -1,
      lastDesired: null,
    });
  });

  it.each<[string, RequestListener, string, RegExp]>([
    ['a redirect', (_, r) => r.writeHead(307, { location: 'http://169.254.169.254/' }).end(), 'bad_status', /307/],
    ['an error', (_, r) => r.writeHead(500).end('{"desired":12}'), 'bad_status', /500/],
    ['no content', (_, r) => r.writeHead(204).end(), 'bad_status', /204/],
    ['no JSON', (_, r) => r.end('twelve'), 'bad_answer', /no JSON/],
    ['nothing', (_, r) => r.end(), 'bad_answer', /no JSON/],
    ['a number in a string', (_, r) => r.end('{"desired":"12"}'), 'bad_answer', /whole number/],
    ['another word', (_, r) => r.end('{"rooms":12}'), 'bad_answer', /whole number/],
    ['null', (_, r) => r.end('null'), 'bad_answer', /whole number/],
    ['64 KiB and more', (_, r) => r.end(`{"desired":12}${' '.repeat(64 * 1024)}`), 'answer_too_large', /65536/],
    ['bytes without end', (_, r) => void drip(r, 8192), 'answer_too_large', /65536/],
  ])('takes no answer that is %s', async (_, listener, failure, detail) => {
    const url = await services.open(listener);
    expect(await ask(open(), url)).toEqual({ answered: false, failure, detail: expect.stringMatching(detail) });
    expect(services.received(url)).toHaveLength(1);
  });

  /** Sends for as long as somebody takes it. */
  function drip(response: Parameters<RequestListener>[1], bytes: number): void {
    if (response.destroyed) return;
    response.write(' '.repeat(bytes), () => setImmediate(drip, response, bytes));
  }

  it('gives up on an answer that began and does not end', async () => {
    const url = await services.open((_, response) => response.write('{"desired":'));
    expect(await ask(open(), url, 100)).toMatchObject({ failure: 'deadline_exceeded' });
  });

  it.each<[string, string, string]>([
    ['early hints without end', 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(1000), 'deadline_exceeded'],
    ['a switch to no protocol', 'HTTP/1.1 101 Switching Protocols\r\n\r\n', 'bad_status'],
    ['a redirect that does not end', 'HTTP/1.1 302 Found\r\nTransfer-Encoding: chunked\r\n\r\n', 'bad_status'],
    ['a header without end', `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(200_000)}`, 'unreachable'],
    ['no HTTP', 'hello\r\n\r\n', 'unreachable'],
  ])('does not wait longer than its deadline for %s', async (_, bytes, failure) => {
    const url = await services.open(({ socket }) => socket.on('error', () => undefined).write(bytes));
    expect(await ask(open(), url, 500)).toMatchObject({ answered: false, failure });
  });

  it('takes no half of an answer', async () => {
    const url = await services.open(({ socket }) =>
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"desired"'),
    );
    expect(await ask(open(), url)).toMatchObject({ answered: false, failure: 'unreachable' });
  });

  it('asks again, once, when the connection breaks', async () => {
    let breaks = 1;
    const url = await services.open((request, response) => {
      if (breaks-- > 0) request.socket.destroy();
      else answerTwelve(request, response);
    });
    const webhook = open();
    expect(await ask(webhook, url)).toEqual({ answered: true, desired: 12 });
    expect(services.received(url)).toHaveLength(2);

    breaks = 10;
    expect(await ask(webhook, url)).toMatchObject({ failure: 'unreachable' });
    expect(services.received(url)).toHaveLength(4);
  });

  it('uses a connection again, and gets over its end', async () => {
    const ports = new Set<number | undefined>();
    const url = await services.open((request, response) => {
      ports.add(request.socket.remotePort);
      answerTwelve(request, response);
    });
    const webhook = open();
    await ask(webhook, url);
    await ask(webhook, url);
    expect(ports.size).toBe(1);
    services.dropConnections();
    expect(await ask(webhook, url)).toEqual({ answered: true, desired: 12 });
  });

  it('trusts no certificate that it does not know', async () => {
    const url = await services.open(answerTwelve, { tls: true });
    expect(await ask(open(), url)).toMatchObject({
      failure: 'unreachable',
      detail: expect.stringMatching(/self-signed/),
    });
    expect(services.received(url)).toHaveLength(0);
    expect(await ask(open({ ca: [testCertificate] }), url)).toEqual({ answered: true, desired: 12 });
  });

  it('trusts no certificate of another name', async () => {
    const url = await services.open(answerTwelve, { tls: true });
    const webhook = open({ ca: [testCertificate], lookup: pretendLookup({ 'other.test': '127.0.0.1' }) });
    expect(await ask(webhook, url.replace('127.0.0.1', 'other.test'))).toMatchObject({
      failure: 'unreachable',
      detail: expect.stringMatching(/other\.test/),
    });
  });

  it.each(['http://169.254.169.254/latest', 'http://[fe80::1]/', 'http://[::ffff:a9fe:a9fe]/', 'http://2852039166/'])(
    'does not ask %s',
    async (url) => {
      expect(await ask(open(), url)).toMatchObject({ answered: false, failure: 'refused_address' });
    },
  );

  it.each(['169.254.169.254', 'fd00:ec2::254'])('does not ask a name that stands for %s', async (address) => {
    const webhook = open({ lookup: pretendLookup({ 'game.test': address }) });
    expect(await ask(webhook, 'http://game.test/rooms')).toEqual({
      answered: false,
      failure: 'refused_address',
      detail: `game.test stands for ${address}, which is link-local or a cloud's metadata service; ${settings.webhookAllowsGuardedAddresses.key} allows it.`,
    });
  });

  it('looks at each connection, not at the name once', async () => {
    const url = await services.open((_, response) => response.setHeader('connection', 'close').end('{"desired":12}'));
    const names: Record<string, string> = { 'game.test': '127.0.0.1' };
    const webhook = open({ lookup: pretendLookup(names) });
    const named = url.replace('127.0.0.1', 'game.test');
    expect(await ask(webhook, named)).toMatchObject({ answered: true });
    names['game.test'] = '169.254.169.254';
    expect(await ask(webhook, named)).toMatchObject({ failure: 'refused_address' });
  });

  it('asks at such an address where that is allowed', async () => {
    const webhook = open({ allowGuardedAddresses: true });
    // Without its interface such an address leads nowhere: the system refuses it, and not the guard.
    expect(await ask(webhook, 'http://[fe80::1]:1/')).toMatchObject({ failure: 'unreachable' });
  });

  it.each(['file:///etc/passwd', 'nonsense'])('does not ask %s', async (url) => {
    expect(await ask(open(), url)).toMatchObject({ answered: false, failure: 'unreachable' });
  });

  it('tells no secret of a URL', async () => {
    const urls = [await services.nowhere(), 'http://169.254.169.254/', 'http://no-such-name.invalid/'];
    for (const url of urls) {
      const outcome = await ask(open(), `${url}?token=secret`);
      expect(JSON.stringify(outcome)).not.toContain('secret');
    }
  });
});
