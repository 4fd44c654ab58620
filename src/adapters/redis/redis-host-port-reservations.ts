import type { Cluster, Redis } from 'ioredis';
import { DomainError } from '../../domain/errors';
import {
  chooseHostPorts,
  hostPortKey,
  type CountHolders,
  type HostPortFacts,
  type WantedHostPort,
} from '../../domain/room/choose-host-ports';
import {
  HostPortReservations,
  refusedForMs,
  type HeldHostPorts,
  type HostPortHolder,
  type HostPortsInUse,
} from '../../ports/host-port-reservations';
import { defineHostPortScripts, type RunHostPortScript } from './host-port-scripts';
import { reachRedis } from './redis-rooms';
import { hostPortKeys } from './room-keys';

/** Choices that go along with one call: also in a range that is half full hardly any call is refused. */
const choicesPerCall = 8;
/** Each refusal after the first means that another room was given a number meanwhile: so many do not come in a row. */
const mostCalls = 100;
/** So that pings wait a few ms at most. */
const roomsPerCall = 200;
const pageSize = 1_000;

const none: ReadonlySet<number> = new Set();

/**
 * Reservations in Redis: a hash of `holders`, and `counts` of all ports, of all rooms and of each pool's. A draw is made here and taken there: nearly always in one round
 * trip, because it is blind; only after a refusal is it known what the others hold.
 *
 * @throws DomainError `room_store.unavailable` (unavailable) from every method while Redis cannot be reached or serve.
 */
export class RedisHostPortReservations extends HostPortReservations {
  private readonly run: RunHostPortScript;

  constructor(private readonly redis: Redis | Cluster) {
    super();
    const run = defineHostPortScripts(redis);
    this.run = (name, args) => reachRedis(() => run(name, args));
  }

  async reserve(
    room: HostPortHolder,
    wanted: readonly WantedHostPort[],
    { pool, hosts, avoiding = none }: { pool: string; hosts: number; avoiding?: ReadonlySet<number> },
  ): Promise<number[]> {
    if (wanted.length === 0) return [];
    const ranges = rangesOf(wanted);
    let [held, elsewhere]: [CountHolders, CountHolders] = [() => 0, () => 0];
    const holders: CountHolders = (protocol, port) => (avoiding.has(port) ? Infinity : held(protocol, port));
    for (let call = 1; call <= mostCalls; call++) {
      const [outcome, ...told] = (await this.run('reserve-host-ports', [
        keyOf(room),
        tokenOf(pool),
        hosts,
        wanted.length,
        choicesPerCall,
        ...drawChoices({ wanted, holders, elsewhere, pool, hosts }),
        ...ranges.flatMap(({ protocol, start, end }) => [protocol, start, end]),
      ])) as [string, ...string[]];
      if (outcome === 'taken') return told.map(portOf);
      if (outcome === 'refused') {
        const all = countsOf(
          ranges,
          told.filter((_, index) => index % 2 === 1),
        );
        const own = countsOf(
          ranges,
          told.filter((_, index) => index % 2 === 0),
        );
        held = own;
        elsewhere = (protocol, port) => Math.max(0, all(protocol, port) - own(protocol, port));
      } else if (fits(told, wanted) && !told.some((number) => avoiding.has(portOf(number)))) {
        return told.map(portOf);
      } else {
        await this.releaseKeys([keyOf(room)], { refusedToo: true });
      }
    }
    throw new DomainError(
      'unavailable',
      'room.host_ports_contended',
      `Host ports for room "${room.id}" were taken by others as fast as they were drawn`,
    );
  }

  async hold(rooms: readonly HostPortsInUse[]): Promise<void> {
    await this.inPieces(rooms, (piece) =>
      this.run(
        'hold-host-ports',
        piece.flatMap((room) => [keyOf(room), tokenOf(room.pool), numbersOf(room.ports)]),
      ),
    );
  }

  release(rooms: readonly HostPortHolder[]): Promise<void> {
    return this.releaseKeys(rooms.map(keyOf), { refusedToo: false });
  }

  async releaseScheduler(scheduler: string): Promise<void> {
    const { holders } = await this.list();
    const keys = holders.filter((holder) => holder.scheduler === scheduler).map(keyOf);
    await this.releaseKeys(keys, { refusedToo: true });
  }

  async refuse(room: HostPortHolder): Promise<void> {
    await this.run('refuse-host-ports', [keyOf(room), refusedForMs]);
  }

  async list(): Promise<{ nowMs: number; holders: HeldHostPorts[] }> {
    return reachRedis(async () => {
      const [seconds, microseconds] = await this.redis.time();
      // A scan may answer an entry twice.
      const found = new Map<string, string>();
      let cursor = '0';
      do {
        const [next, entries] = await this.redis.hscan(hostPortKeys.holders, cursor, 'COUNT', pageSize);
        for (const [key, text] of pairs(entries)) found.set(key, text);
        cursor = next;
      } while (cursor !== '0');
      return {
        nowMs: Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000),
        holders: [...found].map(([key, text]) => readHolder(key, text)),
      };
    });
  }

  async recount(): Promise<{ repaired: number }> {
    const [{ holders }, counts, pools] = await Promise.all([
      this.list(),
      reachRedis(() => this.redis.get(hostPortKeys.counts)),
      reachRedis(() => this.redis.smembers(hostPortKeys.pools)),
    ]);
    const isPoolRight = async (token: string): Promise<boolean> => {
      const its = holders.filter(({ pool }) => tokenOf(pool) === token);
      const counted = await reachRedis(() => this.redis.get(`${hostPortKeys.counts}:${token}`));
      return its.length > 0 && isCountedRight(its, counted ?? '');
    };
    const tokens = [...new Set([...pools, ...holders.map(({ pool }) => tokenOf(pool))])];
    // What changes meanwhile looks wrong too. The script sees one moment, but everybody waits for it: only where there is a doubt.
    if (isCountedRight(holders, counts ?? '') && (await Promise.all(tokens.map(isPoolRight))).every(Boolean)) {
      return { repaired: 0 };
    }
    return { repaired: Number(await this.run('recount-host-ports', [])) };
  }

  private releaseKeys(keys: readonly string[], { refusedToo }: { refusedToo: boolean }): Promise<void> {
    return this.inPieces(keys, (piece) => this.run('release-host-ports', [refusedToo ? 1 : 0, ...piece]));
  }

  private async inPieces<T>(all: readonly T[], work: (piece: readonly T[]) => Promise<unknown>): Promise<void> {
    for (let start = 0; start < all.length; start += roomsPerCall) await work(all.slice(start, start + roomsPerCall));
  }
}

/** For each choice and each that is wanted: the number, and how many of the pool, and of all, are thought to hold it. */
function drawChoices(facts: Required<Omit<HostPortFacts, 'random'>>): (string | number)[] {
  return Array.from({ length: choicesPerCall }, () =>
    chooseHostPorts({ ...facts, random: Math.random }).flatMap((port, index) => {
      const protocol = facts.wanted[index]!.protocol.toUpperCase();
      const own = facts.holders(protocol, port);
      return [hostPortKey(protocol, port), own, own + facts.elsewhere(protocol, port)];
    }),
  ).flat();
}

interface ProtocolRange {
  /** In capitals. */
  protocol: string;
  start: number;
  end: number;
}

/** Each range once. */
function rangesOf(wanted: readonly WantedHostPort[]): ProtocolRange[] {
  const ranges = wanted.map(({ protocol, range }) => ({ protocol: protocol.toUpperCase(), ...range }));
  return [...new Map(ranges.map((range) => [`${range.protocol} ${range.start} ${range.end}`, range])).values()];
}

/** Out of what the script read of each range. */
function countsOf(ranges: readonly ProtocolRange[], texts: readonly string[]): CountHolders {
  const counts = ranges.map(({ start, end }, index) =>
    Uint16Array.from({ length: end - start + 1 }, (_, place) => countAt(texts[index]!, place)),
  );
  return (protocol, port) => {
    const index = ranges.findIndex((range) => range.protocol === protocol && port >= range.start && port <= range.end);
    return counts[index]?.[port - ranges[index]!.start] ?? 0;
  };
}

/** As `host-port-prelude.lua` has them. */
const countWidth = 4;
const zero = '0'.charCodeAt(0);
const ports = 65_536;
const protocols = ['TCP', 'UDP', 'SCTP'];

function countAt(text: string, place: number): number {
  let count = 0;
  for (let digit = 0; digit < countWidth; digit++) {
    const value = text.charCodeAt(place * countWidth + digit) - zero;
    // Beyond the end, or never written.
    if (!(value >= 0)) return 0;
    count = count * 10 + value;
  }
  return count;
}

function isCountedRight(holders: readonly HeldHostPorts[], counts: string): boolean {
  const right = new Map<number, number>();
  let end = counts.length / countWidth;
  for (const { ports: held } of holders) {
    for (const { protocol, port } of held) {
      const index = protocols.indexOf(protocol);
      const place = (index < 0 ? protocols.length : index) * ports + port;
      right.set(place, (right.get(place) ?? 0) + 1);
      end = Math.max(end, place + 1);
    }
  }
  for (let place = 0; place < end; place++) if (countAt(counts, place) !== (right.get(place) ?? 0)) return false;
  return true;
}

function fits(numbers: readonly string[], wanted: readonly WantedHostPort[]): boolean {
  return (
    numbers.length === wanted.length &&
    wanted.every(({ protocol, range }, index) => {
      const port = portOf(numbers[index]!);
      return numbers[index] === hostPortKey(protocol, port) && port >= range.start && port <= range.end;
    })
  );
}

function keyOf({ scheduler, id }: HostPortHolder): string {
  return `${scheduler}/${id}`;
}

/** A pool as the store has it: without spaces. */
function tokenOf(pool: string): string {
  return encodeURIComponent(pool);
}

function numbersOf(ports: HostPortsInUse['ports']): string {
  return ports.map(({ protocol, port }) => hostPortKey(protocol, port)).join(' ');
}

function portOf(number: string): number {
  return Number(number.slice(number.indexOf('/') + 1));
}

function readHolder(key: string, text: string): HeldHostPorts {
  const [sinceMs, refusedUntilMs, pool, ...numbers] = text.split(' ');
  const slash = key.indexOf('/');
  return {
    scheduler: key.slice(0, slash),
    id: key.slice(slash + 1),
    sinceMs: Number(sinceMs),
    refusedUntilMs: Number(refusedUntilMs) || null,
    pool: decodeURIComponent(pool ?? ''),
    ports: numbers.map((number) => ({ protocol: number.slice(0, number.indexOf('/')), port: portOf(number) })),
  };
}

function pairs(flat: readonly string[]): [string, string][] {
  return flat.flatMap((text, place) => (place % 2 === 0 ? [[text, flat[place + 1] ?? ''] as [string, string]] : []));
}
