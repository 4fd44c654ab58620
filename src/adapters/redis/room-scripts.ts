import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster, Redis } from 'ioredis';
import { matchLoads, statusTable } from '../../domain/room/next-room-status';
import { earlyEndAgeMs, earlyEndWindowMs } from '../../domain/room/start-back-off';
import { hasMatch, instanceStatuses, pingStatuses, roomStatuses } from '../../domain/room/room';

/** The scripts and how many of `scriptKeys` each uses. Fixed numbers let ioredis find the cluster slot. */
const numberOfKeys = {
  'create-room': 9,
  'apply-ping': 4,
  'allocate-room': 10,
  'apply-instance': 9,
  'end-room': 9,
  'terminate-rooms': 3,
  'read-fleet-page': 10,
  'recount-fleet': 2,
  'delete-scheduler': 9,
  'mark-hearing': 1,
} as const;

export type RoomScriptName = keyof typeof numberOfKeys;

/** Runs a script by name. `keys` may be longer than the script needs. */
export type RunRoomScript = (name: RoomScriptName, keys: string[], args: (string | number)[]) => Promise<unknown>;

/** What the domain knows and Lua only looks up, as constants of the script text. */
function domainConstants(): string {
  const withMatch = roomStatuses.flatMap((status) =>
    [0, 1].map((runningMatches) => hasMatch({ status, runningMatches })),
  );
  return [
    `local STATUS_TABLE = '${statusTable()}'`,
    `local HAS_MATCH = '${withMatch.map(Number).join('')}'`,
    `local PING_STATUSES, INSTANCE_STATUSES = ${pingStatuses.length}, ${instanceStatuses.length}`,
    `local MATCH_LOADS = ${matchLoads.length}`,
    `local EARLY_END_AGE_MS, EARLY_END_WINDOW_MS = ${earlyEndAgeMs}, ${earlyEndWindowMs}`,
    `local STATUS_ERROR = ${roomStatuses.indexOf('error')}`,
    `local STATUS_PENDING = ${roomStatuses.indexOf('pending')}`,
    `local STATUS_READY = ${roomStatuses.indexOf('ready')}`,
    `local STATUS_TERMINATING = ${roomStatuses.indexOf('terminating')}`,
    `local STATUS_ALLOCATED = ${roomStatuses.indexOf('allocated')}`,
    `local STATUS_TERMINATED = ${roomStatuses.indexOf('terminated')}`,
    `local PING_UNKNOWN = ${pingStatuses.indexOf('unknown')}`,
    `local INSTANCE_UNKNOWN = ${instanceStatuses.indexOf('unknown')}`,
  ].join('\n');
}

function readScript(name: string): string {
  return readFileSync(join(__dirname, 'scripts', `${name}.lua`), 'utf8');
}

/** The whole text that Redis runs for a script: constants, prelude, script. */
export function roomScriptText(name: RoomScriptName): string {
  return [domainConstants(), readScript('prelude'), readScript(name)].join('\n');
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
