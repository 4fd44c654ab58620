import { DomainError } from '../errors';
import type { Container, PortRange } from '../scheduler/scheduler';

/** A container port that needs a port of its host. */
export interface WantedHostPort {
  container: string;
  name: string;
  protocol: string;
  range: PortRange;
}

/** `protocol` in capitals. */
export type CountHolders = (protocol: string, port: number) => number;

export interface HostPortFacts {
  wanted: readonly WantedHostPort[];
  /** How many rooms of the same pool hold a number; `Infinity` for one that must not be had at all. */
  holders: CountHolders;
  /** How many rooms of other pools hold it: it is given later, but without bound, because they may use other machines. None if absent. */
  elsewhere?: CountHolders;
  /** The machines that could run the room; empty where all rooms use the same. It reads after "rooms with". */
  pool?: string;
  /** How many these are: so many of the pool's rooms may hold a number, because no two of them can share a machine. */
  hosts: number;
  /** Answers a number from 0 to 1. */
  random: () => number;
}

/** Draws before the free ports are counted out instead; a range that is nearly full needs that, others never. */
const blindDraws = 16;

/** `UDP/60001`: ports of different protocols have nothing to do with each other. */
export function hostPortKey(protocol: string, port: number): string {
  return `${protocol.toUpperCase()}/${port}`;
}

/**
 * The host ports that a room needs, by container and port in their order. The scheduler's own range, when it has one, is
 * used for all ports (v10); otherwise each port has one.
 * @throws DomainError `room.host_port_range_missing` (invalid_argument) for a port without any range.
 */
export function wantedHostPorts(
  containers: readonly {
    name: string;
    ports: readonly Pick<Container['ports'][number], 'name' | 'protocol' | 'hostPortRange'>[];
  }[],
  portRange: PortRange | undefined,
): WantedHostPort[] {
  return containers.flatMap((container) =>
    container.ports.map(({ name, protocol, hostPortRange }) => {
      const range = portRange ?? hostPortRange;
      if (range) return { container: container.name, name, protocol, range };
      throw new DomainError(
        'invalid_argument',
        'room.host_port_range_missing',
        `Port "${name}" of container "${container.name}" has no host port range; configure the scheduler's portRange or the port's hostPortRange.`,
      );
    }),
  );
}

/**
 * A host port for each that is wanted, in their order.
 *
 * Uniformly random within the range (bounds included) among the numbers that nobody holds, wherever there is one; else among
 * those that the fewest of the pool hold, and of these the fewest elsewhere. Never one that `hosts` rooms of the pool hold. Distinct within the room and protocol, also where ranges of
 * several ports overlap: a port that was drawn first moves when another one could not be placed as well otherwise, so this
 * fails only when no choice at all is possible. v10 draws without regard to other rooms, and per-port draws may collide (W1).
 *
 * @throws DomainError `room.host_ports_exhausted` (resource_exhausted) when a range has too few ports left.
 */
export function chooseHostPorts(facts: HostPortFacts): number[] {
  const { wanted, hosts, random } = facts;
  const rank = rankBy(facts);
  /** Which of the wanted ports was given a number, by key. */
  const given = new Map<string, number>();
  /** A number of at most this rank that this room does not have yet. */
  const draw = (port: WantedHostPort, highest: number): number | undefined => {
    const { start, end } = port.range;
    const protocol = port.protocol.toUpperCase();
    const size = end - start + 1;
    const pick = (count: number): number => Math.min(Math.floor(random() * count), count - 1);
    const isFree = (number: number): boolean =>
      rank(protocol, number) <= highest && !given.has(hostPortKey(protocol, number));
    for (let draws = 0; draws < blindDraws && size > 0; draws++) {
      const number = start + pick(size);
      if (isFree(number)) return number;
    }
    const free: number[] = [];
    for (let number = start; number <= end; number++) if (isFree(number)) free.push(number);
    return free[pick(free.length)];
  };

  /** Gives a wanted port a number; where none is free, one given within this room whose owner can move. */
  const place = (index: number, highest: number, tried: Set<string>): boolean => {
    const port = wanted[index];
    if (port === undefined) return false;
    const free = draw(port, highest);
    if (free !== undefined) {
      given.set(hostPortKey(port.protocol, free), index);
      return true;
    }
    for (const [key, owner] of [...given]) {
      if (!isWithin(key, port) || tried.has(key)) continue;
      if (rank(port.protocol.toUpperCase(), portOf(key)) > highest) continue;
      tried.add(key);
      if (place(owner, highest, tried)) {
        given.set(key, index);
        return true;
      }
    }
    return false;
  };

  let levels: number[] | undefined;
  for (const [index, port] of wanted.entries()) {
    if (place(index, 0, new Set())) continue;
    levels ??= levelsOf(wanted, rank, rankOfBound(hosts));
    if (!levels.some((highest) => place(index, highest, new Set()))) throw exhausted(port, facts);
  }
  const chosen = new Map([...given].map(([key, index]) => [index, portOf(key)]));
  return wanted.map((_, index) => chosen.get(index) ?? 0);
}

/** More than any number's holders elsewhere, so that those of the own pool always weigh more. */
const poolWeight = 1e6;

/** What makes a number worse than another; 0 only for what nobody holds. */
function rankBy({ holders, elsewhere = () => 0 }: Pick<HostPortFacts, 'holders' | 'elsewhere'>): CountHolders {
  return (protocol, port) => holders(protocol, port) * poolWeight + Math.min(elsewhere(protocol, port), poolWeight - 1);
}

/** All numbers that may be had are below it. */
function rankOfBound(hosts: number): number {
  return hosts * poolWeight;
}

/** The ranks up to which numbers are given, from the best on: only what makes a difference. */
function levelsOf(wanted: readonly WantedHostPort[], rank: CountHolders, bound: number): number[] {
  const ranks = new Set<number>();
  for (const { protocol, range } of wanted) {
    const upper = protocol.toUpperCase();
    for (let port = range.start; port <= range.end; port++) ranks.add(rank(upper, port));
  }
  return [...ranks].filter((each) => each > 0 && each < bound).sort((a, b) => a - b);
}

function isWithin(key: string, { protocol, range }: WantedHostPort): boolean {
  const port = portOf(key);
  return port >= range.start && port <= range.end && key === hostPortKey(protocol, port);
}

function portOf(key: string): number {
  return Number(key.slice(key.indexOf('/') + 1));
}

function exhausted(
  { container, name, protocol, range }: WantedHostPort,
  { holders, hosts, pool = '' }: HostPortFacts,
): DomainError {
  const size = range.end - range.start + 1;
  let held = 0;
  for (let port = range.start; port <= range.end; port++) {
    if (holders(protocol.toUpperCase(), port) >= hosts) held++;
  }
  const rooms = pool === '' ? 'rooms' : `rooms with ${pool}`;
  const limit =
    hosts === 1
      ? `a number can be had once, because ${rooms} run on 1 machine`
      : `a number can be had ${hosts} times, because ${rooms} run on ${hosts} machines`;
  const why =
    held === size
      ? `each of its ${size} numbers is taken (${limit})`
      : `${held} of its ${size} numbers are taken (${limit}), and this room needs more than the rest`;
  return new DomainError(
    'resource_exhausted',
    'room.host_ports_exhausted',
    `Host port range ${range.start}-${range.end} has no ${protocol.toUpperCase()} port left for port "${name}" of container "${container}": ${why}; widen the range, run fewer rooms${hosts === 1 ? '' : ' or add machines'}.`,
    { details: { range, protocol: protocol.toUpperCase(), held, hosts, ...(pool === '' ? {} : { pool }) } },
  );
}
