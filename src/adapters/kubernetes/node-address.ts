import { isIP } from 'node:net';
import type { Node } from './kubernetes-objects';

/** What players can reach comes first (`rooms.md` 5.6); a `Hostname` is a word within the cluster. */
const preferred = [
  { type: 'ExternalDNS', isUsable: (address: string) => address !== '' },
  { type: 'ExternalIP', isUsable: (address: string) => isIP(address) !== 0 },
  { type: 'InternalDNS', isUsable: (address: string) => address !== '' },
  { type: 'InternalIP', isUsable: (address: string) => isIP(address) !== 0 },
];

/** The address by which players reach a node's host ports; null when it has none. */
export function nodeAddress(node: Node): string | null {
  const addresses = node.status?.addresses ?? [];
  for (const { type, isUsable } of preferred) {
    const found = addresses.find((candidate) => candidate.type === type && isUsable(candidate.address));
    if (found) return found.address;
  }
  return null;
}
