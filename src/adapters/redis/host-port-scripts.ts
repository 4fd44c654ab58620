import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster, Redis } from 'ioredis';
import { hostPortKeys } from './room-keys';

const names = [
  'reserve-host-ports',
  'hold-host-ports',
  'release-host-ports',
  'refuse-host-ports',
  'recount-host-ports',
] as const;
export type HostPortScriptName = (typeof names)[number];

/** Runs a script by name, in one round trip (`room-scripts.ts` says how). */
export type RunHostPortScript = (name: HostPortScriptName, args: (string | number)[]) => Promise<unknown>;

/** Makes the scripts of host ports known to a client. */
export function defineHostPortScripts(redis: Redis | Cluster): RunHostPortScript {
  const keys = [hostPortKeys.holders, hostPortKeys.counts, hostPortKeys.pools];
  const prelude = readScript('host-port-prelude');
  for (const name of names) {
    redis.defineCommand(commandName(name), { numberOfKeys: keys.length, lua: `${prelude}\n${readScript(name)}` });
  }
  const commands = redis as unknown as Record<string, (...args: (string | number)[]) => Promise<unknown>>;
  // Called through the client: its methods need their `this`.
  return (name, args) => commands[commandName(name)]!(...keys, ...args);
}

function readScript(name: string): string {
  return readFileSync(join(__dirname, 'scripts', `${name}.lua`), 'utf8');
}

function commandName(name: HostPortScriptName): string {
  return `maestro-${name}`;
}
