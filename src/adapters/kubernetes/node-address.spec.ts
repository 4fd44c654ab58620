import { nodeAddress } from './node-address';

describe('nodeAddress', () => {
  it.each([
    ['external name first', { InternalIP: '1.1.1.1', ExternalIP: '2.2.2.2', ExternalDNS: 'a.example' }, 'a.example'],
    ['then the external address', { InternalIP: '1.1.1.1', ExternalIP: '0.0.0.0' }, '0.0.0.0'],
    ['an external address that is none', { ExternalIP: 'x', InternalIP: '1.1.1.1' }, '1.1.1.1'],
    ['then the internal name', { InternalIP: '1.1.1.1', InternalDNS: 'a.internal' }, 'a.internal'],
    ['then the internal address, of version 6 too', { InternalIP: 'fd00::1' }, 'fd00::1'],
    ['an empty name is none', { ExternalDNS: '', InternalIP: '1.1.1.1' }, '1.1.1.1'],
    ['no host name', { Hostname: 'node-1' }, null],
    ['nothing', {}, null],
  ])('takes %s', (_what, addresses, expected) => {
    const list = Object.entries(addresses).map(([type, address]) => ({ type, address }));
    expect(nodeAddress({ status: { addresses: list } })).toBe(expected);
  });

  it('is none of a node that says nothing', () => {
    expect(nodeAddress({})).toBeNull();
  });
});
