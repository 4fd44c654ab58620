import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/**
 * Addresses that no URL of a user may lead to, unless `autoscaling.webhook.allowGuardedAddresses` says so: what answers there trusts
 * everybody who can reach it, and gives out the machine's credentials. Loopback and private networks are not among them: services of
 * a game are there, on one machine and in a cluster. Sources: RFC 3927 and 4291 (link-local), and the clouds' pages on their
 * instance metadata.
 */
function openBlockList(): BlockList {
  const list = new BlockList();
  // Link-local: metadata of AWS, Azure, Google Cloud, Oracle, OpenStack, DigitalOcean, ECS tasks and EKS pods among others.
  list.addSubnet('169.254.0.0', 16, 'ipv4');
  list.addSubnet('fe80::', 10, 'ipv6');
  // AWS, IPv6: metadata, DNS, time, pod identity.
  list.addSubnet('fd00:ec2::', 32, 'ipv6');
  // Google Cloud, IPv6.
  list.addAddress('fd20:ce::254', 'ipv6');
  // Scaleway, IPv6.
  list.addAddress('fd00:42::42', 'ipv6');
  // Alibaba Cloud.
  list.addAddress('100.100.100.200', 'ipv4');
  // Azure's platform (WireServer), beside its metadata.
  list.addAddress('168.63.129.16', 'ipv4');
  // Oracle Cloud, classic.
  list.addAddress('192.0.0.192', 'ipv4');
  return list;
}

const blocked = openBlockList();

/** Whether a URL of a user may not lead to this IP address. Also of an IPv6 address that stands for an IPv4 one. */
export function isGuardedAddress(address: string): boolean {
  const [bare = ''] = address.split('%');
  const family = isIP(bare);
  if (family === 4) return blocked.check(bare, 'ipv4');
  if (family !== 6) return false;
  if (blocked.check(bare, 'ipv6')) return true;
  return ipv4Within(groupsOf(bare)).some((embedded) => blocked.check(embedded, 'ipv4'));
}

/** The eight numbers of an IPv6 address. */
function groupsOf(address: string): number[] {
  // URL writes every IPv6 address in hexadecimal groups, a dotted end too.
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const parse = (part: string) => (part === '' ? [] : part.split(':').map((group) => parseInt(group, 16)));
  const [before, after] = [parse(head), parse(tail ?? '')];
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** IPv4 addresses that a gateway, or the system itself, may take this IPv6 address for. */
function ipv4Within(groups: readonly number[]): string[] {
  const dotted = (at: number) => {
    const [high = 0, low = 0] = groups.slice(at, at + 2);
    return [high >> 8, high & 255, low >> 8, low & 255].join('.');
  };
  const startsWith = (...prefix: number[]) => prefix.every((group, index) => groups[index] === group);
  const found: string[] = [];
  // Mapped (::ffff:0:0/96), translated (::ffff:0:0:0/96), compatible (::/96).
  if (startsWith(0, 0, 0, 0, 0, 0xffff) || startsWith(0, 0, 0, 0, 0xffff, 0) || startsWith(0, 0, 0, 0, 0, 0)) {
    found.push(dotted(6));
  }
  // NAT64 (64:ff9b::/96, and the local prefix 64:ff9b:1::/48 as it is mostly used).
  if (startsWith(0x64, 0xff9b, 0, 0, 0, 0) || startsWith(0x64, 0xff9b, 1)) found.push(dotted(6));
  // 6to4 (2002::/16).
  if (startsWith(0x2002)) found.push(dotted(1));
  return found;
}

/** A connection that was not made, because of where it would have gone. */
export class GuardedAddressError extends Error {
  override readonly name = 'GuardedAddressError';

  constructor(host: string, address: string) {
    const what =
      host === address
        ? `${host} is link-local or a cloud's metadata service`
        : `${host} stands for ${address}, which is link-local or a cloud's metadata service`;
    super(`${what}; autoscaling.webhook.allowGuardedAddresses allows it.`);
  }
}

/**
 * Throws `GuardedAddressError` for a host, as in a URL, that is a guarded address itself. No name is resolved for such a host, so
 * `guardedLookup` never sees it.
 */
export function refuseGuardedHost(host: string): void {
  const bare = host.startsWith('[') ? host.slice(1, -1) : host;
  if (isGuardedAddress(bare)) throw new GuardedAddressError(bare, bare);
}

/**
 * Resolves names for a socket that is about to connect, and refuses those of which an address is guarded. What it answers is what
 * is connected to, so that a name cannot change its address between check and use (DNS rebinding).
 */
export function guardedLookup(lookup: LookupFunction = systemLookup): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, options, (error, address, family) => {
      if (error) {
        callback(error, address, family);
        return;
      }
      const addresses: LookupAddress[] = typeof address === 'string' ? [{ address, family: family ?? 0 }] : address;
      const guarded = addresses.find((found) => isGuardedAddress(found.address));
      if (guarded) callback(new GuardedAddressError(hostname, guarded.address), address, family);
      else callback(null, address, family);
    });
  };
}
