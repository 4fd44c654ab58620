import { DomainError } from '../errors';
import type { Container, PortRange } from '../scheduler/scheduler';

export interface HostPortFacts {
  containers: readonly {
    name: string;
    ports: readonly Pick<Container['ports'][number], 'name' | 'hostPortRange'>[];
  }[];
  /** The scheduler's own range. When present, it is used for all ports (v10); otherwise each port has one. */
  portRange: PortRange | undefined;
  /** Host ports that other rooms may hold; none of them is handed out. */
  taken: ReadonlySet<number>;
  /** Answers a number from 0 to 1. */
  random: () => number;
}

/** Draws before the free ports are counted out instead; a range that is nearly full needs that, others never. */
const blindDraws = 16;

/**
 * A host port for each container port of a room, by container and port in their order.
 *
 * Uniformly random within the range (bounds included), never taken, and distinct within the room, also where ranges of
 * several ports overlap: a port that was drawn first moves when another one could not be placed otherwise, so this fails
 * only when no choice at all is possible. v10 draws without regard to other rooms, and per-port draws may collide (W1).
 *
 * @throws DomainError `room.host_ports_exhausted` (resource_exhausted) when a range has too few free ports.
 * @throws DomainError `room.host_port_range_missing` (invalid_argument) for a port without any range.
 */
export function chooseHostPorts({ containers, portRange, taken, random }: HostPortFacts): number[][] {
  const wanted = containers.flatMap((container) =>
    container.ports.map((port) => {
      const range = portRange ?? port.hostPortRange;
      if (range) return { container: container.name, port: port.name, range };
      throw new DomainError(
        'invalid_argument',
        'room.host_port_range_missing',
        `Port "${port.name}" of container "${container.name}" has no host port range; configure the scheduler's portRange or the port's hostPortRange.`,
      );
    }),
  );
  /** Which of the wanted ports holds a number. */
  const holders = new Map<number, number>();

  const drawFree = ({ start, end }: PortRange): number | undefined => {
    const size = end - start + 1;
    const pick = (count: number): number => Math.min(Math.floor(random() * count), count - 1);
    const isFree = (port: number): boolean => !taken.has(port) && !holders.has(port);
    for (let draw = 0; draw < blindDraws && size > 0; draw++) {
      const port = start + pick(size);
      if (isFree(port)) return port;
    }
    const free: number[] = [];
    for (let port = start; port <= end; port++) if (isFree(port)) free.push(port);
    return free[pick(free.length)];
  };

  /** Gives a wanted port a number; where none is free, one held within this room whose holder can move. */
  const place = (index: number, tried: Set<number>): boolean => {
    const range = wanted[index]?.range;
    if (!range) return false;
    const free = drawFree(range);
    if (free !== undefined) {
      holders.set(free, index);
      return true;
    }
    for (const [port, holder] of [...holders]) {
      if (port < range.start || port > range.end || tried.has(port)) continue;
      tried.add(port);
      if (place(holder, tried)) {
        holders.set(port, index);
        return true;
      }
    }
    return false;
  };

  for (const [index, { container, port, range }] of wanted.entries()) {
    if (place(index, new Set())) continue;
    throw new DomainError(
      'resource_exhausted',
      'room.host_ports_exhausted',
      `Host port range ${range.start}-${range.end} has no free port left for port "${port}" of container "${container}"; widen the range or run fewer rooms.`,
      { details: { range, taken: taken.size, wanted: wanted.length } },
    );
  }

  const chosen = new Map([...holders].map(([port, index]) => [index, port]));
  let next = 0;
  return containers.map((container) => container.ports.map(() => chosen.get(next++) ?? 0));
}
