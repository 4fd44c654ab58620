import { setTimeout as sleep } from 'node:timers/promises';
import { RedisRoomStore } from '../src/adapters/redis/redis-room-store';
import { closeRedisConnection, createRedisConnection } from '../src/adapters/redis/redis-connection';
import { aSchedulerDefinition } from '../test/support/a-scheduler-definition';
import { openDatabases, type Databases } from './support/databases';
import {
  openIdleStream,
  overRest,
  overStream,
  overUnaryGrpc,
  type PingingRoom,
  type Wire,
} from './support/pinging-rooms';
import type { Measure, Report } from './support/report';
import { RoomsApiProcess } from './support/rooms-api-process';

const rooms = 200;
const idleStreams = 1_000;
const warmUpMs = 1_000;
const measuredMs = 2_000;
/** Few enough for every wire on a slow machine: what a fleet of 2,000 rooms sends that ping every 10 s. */
const evenlyPerSecond = 200;
const mostShare = 1 / 4;
const scheduler = 'arena';

interface Load {
  name: string;
  /** Pings a second of all rooms; null: each room pings again as soon as it is answered. */
  perSecond: number | null;
  /** Of each wire, one after the other, so that what else the machine does falls on all. */
  turns: number;
}

const loads: Load[] = [
  { name: 'as fast as it goes', perSecond: null, turns: 3 },
  { name: `${evenlyPerSecond}/s, evenly`, perSecond: evenlyPerSecond, turns: 1 },
];

const wires: Record<string, Wire> = { REST: overRest, 'unary gRPC': overUnaryGrpc, stream: overStream };

/**
 * CPU time that a process of the role rooms-api uses for a ping, by the wire on which it comes; each room has a connection of
 * its own. Baseline: a unary call. What the process uses without any ping is taken off.
 */
export async function run(): Promise<Report> {
  const databases = await openDatabases();
  try {
    await makeRooms(databases);
    const api = await RoomsApiProcess.start(databases);
    try {
      const measures: Measure[] = [{ what: `an idle stream, of ${idleStreams}`, value: await measureMemory(api) }];
      await sleep(warmUpMs);
      const idle = await measureIdle(api);
      let kept = false;
      for (const load of loads) {
        const costs = new Map(Object.keys(wires).map((name) => [name, { cpuMs: 0, count: 0, elapsedMs: 0 }]));
        for (let turn = 0; turn < load.turns; turn++) {
          for (const [name, total] of costs) {
            const used = await measure(api, wires[name]!, load.perSecond);
            total.cpuMs += used.cpuMs - idle * used.elapsedMs;
            total.count += used.count;
            total.elapsedMs += used.elapsedMs;
          }
        }
        const [rest, unary, stream] = [...costs.values()].map(({ cpuMs, count }) => (cpuMs / count) * 1_000) as [
          number,
          number,
          number,
        ];
        for (const [name, { cpuMs, count, elapsedMs }] of costs) {
          const perSecond = (count / elapsedMs) * 1_000;
          measures.push({
            what: `${name}, ${load.name}`,
            value: `${((cpuMs / count) * 1_000).toFixed(0)} µs a ping, ${perSecond.toFixed(0)}/s`,
            ...(name === 'stream'
              ? { ratio: `${share(stream, unary)} of unary gRPC, ${share(stream, rest)} of REST` }
              : {}),
          });
        }
        if (load.perSecond === null) kept = stream <= unary * mostShare;
      }
      const promise = 'at full load, a ping on a stream takes at most a quarter of the CPU time of a unary call';
      return { measures, targets: [{ promise, kept }] };
    } finally {
      await api.stop();
    }
  } finally {
    await databases.close();
  }
}

const share = (value: number, of: number): string => `${((value / of) * 100).toFixed(0)} %`;
const roomName = (index: number): string => `arena-${String(index).padStart(4, '0')}`;

async function makeRooms({ postgres, redisUrl }: Databases): Promise<void> {
  await postgres.schedulers.createScheduler(scheduler, aSchedulerDefinition());
  const redis = createRedisConnection({ url: redisUrl, name: 'bench-rooms' });
  const store = new RedisRoomStore(redis);
  const room = { scheduler, version: 'v1.0.0', validation: false };
  await Promise.all(
    Array.from({ length: rooms }, async (_, index) => {
      const id = roomName(index);
      await store.createRoom({ ...room, id });
      await store.applyInstance(
        { ...room, id, status: 'ready', description: '', address: null, createdAtMs: Date.now(), generation: 1 },
        { maxMatches: 1 },
        { adopt: false, authoritative: false },
      );
    }),
  );
  await closeRedisConnection(redis);
}

/** What it uses by itself. Milliseconds of CPU time per millisecond. */
async function measureIdle(api: RoomsApiProcess): Promise<number> {
  const [startedAt, cpuBefore] = [performance.now(), api.cpuMs()];
  await sleep(measuredMs);
  return (api.cpuMs() - cpuBefore) / (performance.now() - startedAt);
}

async function measure(api: RoomsApiProcess, wire: Wire, perSecond: number | null) {
  const pinging = await Promise.all(
    Array.from({ length: rooms }, (_, index) => wire(api.address, scheduler, roomName(index))),
  );
  let answered = 0;
  const stop = new AbortController();
  const onAnswer = (): void => void (answered += 1);
  const done =
    perSecond === null ? pingOn(pinging, stop.signal, onAnswer) : pingEvenly(pinging, perSecond, stop.signal, onAnswer);
  await Promise.race([done, sleep(warmUpMs)]);
  const [startedAt, cpuBefore, before] = [performance.now(), api.cpuMs(), answered];
  await Promise.race([done, sleep(measuredMs)]);
  const used = { elapsedMs: performance.now() - startedAt, cpuMs: api.cpuMs() - cpuBefore, count: answered - before };
  stop.abort();
  await done;
  for (const room of pinging) room.close();
  return used;
}

async function pingOn(pinging: PingingRoom[], signal: AbortSignal, onAnswer: () => void): Promise<void> {
  await Promise.all(
    pinging.map(async (room) => {
      while (!signal.aborted) {
        await room.ping();
        onAnswer();
      }
    }),
  );
}

/** One at a time, as they are due. */
async function pingEvenly(
  pinging: PingingRoom[],
  perSecond: number,
  signal: AbortSignal,
  onAnswer: () => void,
): Promise<void> {
  const startedAt = performance.now();
  const underway = new Map<PingingRoom, Promise<void>>();
  for (let sent = 0; !signal.aborted;) {
    const due = ((performance.now() - startedAt) / 1_000) * perSecond;
    if (sent >= due) {
      await sleep(1);
      continue;
    }
    const room = pinging[sent++ % pinging.length]!;
    // A room asks again when it was answered, also on a machine that is too slow for all.
    await underway.get(room);
    underway.set(room, room.ping().then(onAnswer));
  }
  await Promise.all(underway.values());
}

/** What the process grows by for each stream that is open and says nothing. */
async function measureMemory(api: RoomsApiProcess): Promise<string> {
  const open = (count: number, from: number) =>
    Promise.all(
      Array.from({ length: count }, (_, index) => openIdleStream(api.address, scheduler, `idle-${from + index}`)),
    );
  // The first ones load code.
  const streams = await open(idleStreams / 10, 0);
  await sleep(warmUpMs);
  const before = api.residentBytes();
  streams.push(...(await open(idleStreams, streams.length)));
  await sleep(warmUpMs);
  const each = (api.residentBytes() - before) / idleStreams / 1_024;
  for (const stream of streams) stream.close();
  return `${each.toFixed(1)} KiB, its connection included`;
}
