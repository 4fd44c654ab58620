import { refuseForeignCaller } from './origin-guard';
import type { CallerHeaders } from './origin-guard';

const allowed = ['maestro.example', '.games.svc', '10.1.2.3'];

describe('refuseForeignCaller', () => {
  it.each<[string, CallerHeaders]>([
    ['a program on this machine', { host: 'localhost:8080' }],
    ['a program by the loopback address', { host: '127.0.0.1:8080' }],
    ['a program by the IPv6 loopback address', { host: '[::1]:8080' }],
    ['a host without a port', { host: 'localhost' }],
    ['an allowed host on any port', { host: 'maestro.example:1234' }],
    ['an allowed host in capitals', { host: 'Maestro.Example' }],
    ['a name below an allowed suffix', { host: 'rooms-api.games.svc' }],
    ['an allowed address', { host: '10.1.2.3:8080' }],
    [
      "Swagger UI's own request",
      { host: '127.0.0.1:8080', origin: 'http://127.0.0.1:8080', 'sec-fetch-site': 'same-origin' },
    ],
    ['an address typed into a browser', { host: 'localhost:8080', 'sec-fetch-site': 'none' }],
    ['an own page behind a TLS proxy', { host: 'maestro.example', origin: 'https://maestro.example' }],
    [
      'an own page that spells out the default port',
      { host: 'maestro.example:443', origin: 'https://maestro.example' },
    ],
  ])('lets %s pass', (_name, headers) => {
    expect(refuseForeignCaller(headers, allowed)).toBeNull();
  });

  it.each<[string, CallerHeaders, string]>([
    ['no Host', {}, 'no_host'],
    ['an empty Host', { host: '' }, 'no_host'],
    ['a host that is not on the list (DNS rebinding)', { host: 'evil.example:8080' }, 'foreign_host'],
    ['the bare suffix', { host: 'games.svc' }, 'foreign_host'],
    ['a name that ends like a suffix but is none below it', { host: 'evilgames.svc' }, 'foreign_host'],
    ['a name below an exact name', { host: 'a.maestro.example' }, 'foreign_host'],
    ['a name that begins with a loopback name', { host: 'localhost.evil.example' }, 'foreign_host'],
    ['a loopback name as user', { host: 'localhost@evil.example' }, 'foreign_host'],
    ['another address', { host: '192.168.1.1:8080' }, 'foreign_host'],
    ['a Host that is none', { host: 'local host' }, 'foreign_host'],
    ['a page of another site', { host: 'localhost:8080', origin: 'https://evil.example' }, 'foreign_origin'],
    [
      'a page on another port of this machine',
      { host: 'localhost:8080', origin: 'http://localhost:3000' },
      'foreign_origin',
    ],
    [
      'a page by another name of this machine',
      { host: 'localhost:8080', origin: 'http://127.0.0.1:8080' },
      'foreign_origin',
    ],
    ['a file or a sandboxed frame', { host: 'localhost:8080', origin: 'null' }, 'foreign_origin'],
    ['an extension', { host: 'localhost:8080', origin: 'chrome-extension://localhost:8080' }, 'foreign_origin'],
    ['an Origin that is none', { host: 'localhost:8080', origin: 'localhost:8080' }, 'foreign_origin'],
    ['a cross-site request', { host: 'localhost:8080', 'sec-fetch-site': 'cross-site' }, 'foreign_site'],
    ['a same-site request', { host: 'localhost:8080', 'sec-fetch-site': 'same-site' }, 'foreign_site'],
    ['a Sec-Fetch-Site that is unknown', { host: 'localhost:8080', 'sec-fetch-site': 'x' }, 'foreign_site'],
  ])('refuses %s', (_name, headers, reason) => {
    expect(refuseForeignCaller(headers, allowed)?.reason).toBe(reason);
  });

  it('lets any host pass with *, but no foreign page', () => {
    expect(refuseForeignCaller({ host: 'anything.example' }, ['*'])).toBeNull();
    expect(refuseForeignCaller({ host: 'a.example', origin: 'https://b.example' }, ['*'])?.reason).toBe(
      'foreign_origin',
    );
  });
});
