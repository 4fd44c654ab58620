import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster, Redis } from 'ioredis';
import { matchLoad, matchLoads, statusTable } from '../../domain/room/next-room-status';
import { earlyEndAgeMs, earlyEndWindowMs, failuresKeptMs, mostFailures } from '../../domain/room/start-back-off';
import { hasMatch, instanceStatuses, pingStatuses, roomStatuses } from '../../domain/room/room';
import { noticeChannelPrefix } from './room-keys';

/** How many of `scriptKeys` the scripts use. Fixed numbers let ioredis find the cluster slot. */
const [keysOfAPing, allKeys] = [12, 23];
/** Those that share `allocation-prelude.lua`. */
const keysOfAllocationScripts = {
  allocate: allKeys,
  'serve-waiting': allKeys,
  'stop-waiting': allKeys,
  'get-allocation': allKeys,
  'confirm-allocation': allKeys,
  'release-allocation': allKeys,
  'end-allocations': allKeys,
} as const;
const numberOfKeys = {
  'create-room': allKeys,
  'apply-pings': keysOfAPing,
  'apply-instance': allKeys,
  'end-room': allKeys,
  'terminate-rooms': allKeys,
  'note-end-asked': keysOfAPing,
  'note-start-put-off': keysOfAPing,
  'drain-rooms': keysOfAPing,
  'release-rooms': keysOfAPing,
  'read-fleet-page': allKeys,
  'read-early-ends': allKeys,
  'recount-fleet': allKeys,
  'delete-scheduler': allKeys,
  'mark-hearing': 1,
  'read-due-allocations': 1,
  ...keysOfAllocationScripts,
} as const;

export type RoomScriptName = keyof typeof numberOfKeys;

/** Runs a script by name. `keys` may be longer than the script needs. */
export type RunRoomScript = (name: RoomScriptName, keys: string[], args: (string | number)[]) => Promise<unknown>;

/** Entries of a partition's event stream; who falls further behind has lost the older ones. */
const eventsKept = 10_000;

const rememberedLoadDigits = new Map<number, string>();

/** The load for 0, 1, ... running matches, a digit each; the last one stands for all above: Lua looks it up. */
export function loadDigits(maxMatches: number): string {
  let text = rememberedLoadDigits.get(maxMatches);
  if (text === undefined) {
    const loads = Array.from({ length: maxMatches + 1 }, (_, running) => matchLoad(running, maxMatches));
    text = loads.map((load) => matchLoads.indexOf(load)).join('');
    rememberedLoadDigits.set(maxMatches, text);
  }
  return text;
}

/** By index from 0, as the domain counts. */
function luaList(words: readonly string[]): string {
  return `{ ${words.map((word, index) => `[${index}] = '${word}'`).join(', ')} }`;
}

/** What the domain knows and Lua only looks up, as constants of the script text. */
function domainConstants(): string {
  const withMatch = roomStatuses.flatMap((status) =>
    [0, 1].map((runningMatches) => hasMatch({ status, runningMatches, allocations: [] })),
  );
  return [
    `local STATUS_TABLE = '${statusTable()}'`,
    `local HAS_MATCH = '${withMatch.map(Number).join('')}'`,
    `local PING_STATUSES, INSTANCE_STATUSES = ${pingStatuses.length}, ${instanceStatuses.length}`,
    `local MATCH_LOADS = ${matchLoads.length}`,
    `local EARLY_END_AGE_MS, EARLY_END_WINDOW_MS = ${earlyEndAgeMs}, ${earlyEndWindowMs}`,
    `local FAILURES_KEPT_MS, MOST_FAILURES = ${failuresKeptMs}, ${mostFailures}`,
    `local NOTICES = '${noticeChannelPrefix}'`,
    `local EVENTS_KEPT = '${eventsKept}'`,
    `local SINGLE_LOADS = '${loadDigits(1)}'`,
    `local STATUS_ERROR = ${roomStatuses.indexOf('error')}`,
    `local STATUS_PENDING = ${roomStatuses.indexOf('pending')}`,
    `local STATUS_READY = ${roomStatuses.indexOf('ready')}`,
    `local STATUS_OCCUPIED = ${roomStatuses.indexOf('occupied')}`,
    `local STATUS_ACTIVE = ${roomStatuses.indexOf('active')}`,
    `local STATUS_TERMINATING = ${roomStatuses.indexOf('terminating')}`,
    `local STATUS_ALLOCATED = ${roomStatuses.indexOf('allocated')}`,
    `local STATUS_TERMINATED = ${roomStatuses.indexOf('terminated')}`,
    `local PING_OCCUPIED = ${pingStatuses.indexOf('occupied')}`,
    `local PING_WORDS = ${luaList(pingStatuses)}`,
    `local INSTANCE_WORDS = ${luaList(instanceStatuses)}`,
    `local PING_UNKNOWN = ${pingStatuses.indexOf('unknown')}`,
    `local INSTANCE_UNKNOWN = ${instanceStatuses.indexOf('unknown')}`,
  ].join('\n');
}

function readScript(name: string): string {
  return readFileSync(join(__dirname, 'scripts', `${name}.lua`), 'utf8');
}

/** The whole text that Redis runs for a script: constants, what scripts share, script. */
export function roomScriptText(name: RoomScriptName): string {
  const shared = name in keysOfAllocationScripts ? ['prelude', 'allocation-prelude'] : ['prelude'];
  return [domainConstants(), ...[...shared, name].map(readScript)].join('\n');
}

/**
 * Makes the room scripts known to a client. Each call is one EVALSHA; ioredis sends the text itself once per connection,
 * and again by itself when the server has lost it (restart, fail-over, SCRIPT FLUSH).
 */
export function defineRoomScripts(redis: Redis | Cluster): RunRoomScript {
  const names = Object.keys(numberOfKeys) as RoomScriptName[];
  for (const name of names) {
    redis.defineCommand(commandName(name), { numberOfKeys: numberOfKeys[name], lua: roomScriptText(name) });
  }
  const commands = redis as unknown as Record<string, (...args: (string | number)[]) => Promise<unknown>>;
  return (name, keys, args) => {
    // Called through the client: its methods need their `this`.
    return commands[commandName(name)]!(...keys.slice(0, numberOfKeys[name]), ...args);
  };
}

function commandName(name: RoomScriptName): string {
  return `maestro-${name}`;
}
