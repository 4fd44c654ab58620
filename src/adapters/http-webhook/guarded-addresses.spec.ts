import type { LookupFunction } from 'node:net';
import { GuardedAddressError, guardedLookup, isGuardedAddress, refuseGuardedHost } from './guarded-addresses';

describe('isGuardedAddress', () => {
  test.each([
    ['169.254.169.254', 'the metadata of most clouds'],
    ['169.254.0.1', 'link-local'],
    ['169.254.255.255', 'link-local'],
    ['169.254.170.2', 'the credentials of an ECS task'],
    ['100.100.100.200', 'the metadata of Alibaba Cloud'],
    ['168.63.129.16', 'Azure’s platform'],
    ['192.0.0.192', 'the metadata of Oracle Cloud'],
    ['fe80::1', 'link-local'],
    ['febf:ffff::1', 'link-local'],
    ['fe80::1%eth0', 'link-local, with its interface'],
    ['FE80::A9FE:A9FE', 'the metadata of OpenStack'],
    ['fd00:ec2::254', 'the metadata of AWS'],
    ['fd00:ec2::23', 'the pod identity of EKS'],
    ['fd20:ce::254', 'the metadata of Google Cloud'],
    ['fd00:42::42', 'the metadata of Scaleway'],
    ['::ffff:169.254.169.254', 'mapped'],
    ['::ffff:a9fe:a9fe', 'mapped, in hexadecimal'],
    ['::ffff:0:169.254.169.254', 'translated'],
    ['::169.254.169.254', 'compatible'],
    ['64:ff9b::169.254.169.254', 'NAT64'],
    ['64:ff9b:1::a9fe:a9fe', 'NAT64 of a local prefix'],
    ['2002:a9fe:a9fe::1', '6to4'],
    ['0:0:0:0:0:ffff:6464:64c8', 'mapped Alibaba'],
  ])('%s is guarded: %s', (address) => {
    expect(isGuardedAddress(address)).toBe(true);
  });

  test.each([
    '127.0.0.1',
    '10.0.0.1',
    '192.168.1.1',
    '169.253.255.255',
    '169.255.0.0',
    '100.100.100.201',
    '8.8.8.8',
    '::1',
    '::',
    'fec0::1',
    'fd00:1::1',
    '2001:db8::1',
    '::ffff:127.0.0.1',
    '64:ff9b::8.8.8.8',
    'metadata.google.internal',
    '',
  ])('%j is not', (address) => {
    expect(isGuardedAddress(address)).toBe(false);
  });
});

describe('refuseGuardedHost', () => {
  test.each([
    'http://169.254.169.254/latest/meta-data',
    'http://[fe80::1]:80/',
    'http://[::ffff:169.254.169.254]/',
    // Other ways to write it, which URL makes the usual one.
    'http://0xA9FEA9FE/',
    'http://2852039166/',
    'http://0251.0376.0251.0376/',
    'http://169.254.43518/',
  ])('refuses the host of %s', (url) => {
    expect(() => refuseGuardedHost(new URL(url).hostname)).toThrow(GuardedAddressError);
  });

  test.each(['http://127.0.0.1/', 'http://[::1]/', 'http://game.test/'])('takes that of %s', (url) => {
    expect(() => refuseGuardedHost(new URL(url).hostname)).not.toThrow();
  });
});

describe('guardedLookup', () => {
  const answering =
    (
      ...answer: [NodeJS.ErrnoException | null, string | { address: string; family: number }[], number?]
    ): LookupFunction =>
    (_hostname, _options, callback) =>
      callback(...answer);

  function resolve(lookup: LookupFunction): Promise<unknown> {
    return new Promise((done, fail) => {
      guardedLookup(lookup)('game.test', {}, (error, address) => (error ? fail(error) : done(address)));
    });
  }

  test('answers what the name stands for', async () => {
    await expect(resolve(answering(null, '10.0.0.7', 4))).resolves.toBe('10.0.0.7');
    const both = [
      { address: '10.0.0.7', family: 4 },
      { address: '2001:db8::7', family: 6 },
    ];
    await expect(resolve(answering(null, both))).resolves.toEqual(both);
  });

  test('refuses a name that stands for a guarded address', async () => {
    await expect(resolve(answering(null, '169.254.169.254', 4))).rejects.toThrow(
      "game.test stands for 169.254.169.254, which is link-local or a cloud's metadata service; autoscaling.webhook.allowGuardedAddresses allows it.",
    );
  });

  test('refuses a name of which one address is guarded', async () => {
    const mixed = [
      { address: '10.0.0.7', family: 4 },
      { address: 'fe80::1', family: 6 },
    ];
    await expect(resolve(answering(null, mixed))).rejects.toThrow(GuardedAddressError);
  });

  test('hands on that there is no such name', async () => {
    const unknown = Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' });
    await expect(resolve(answering(unknown, ''))).rejects.toBe(unknown);
  });
});
