import type { WantedHostPort } from '../domain/room/choose-host-ports';
import type { RoomPort } from '../domain/room/room';

export interface HostPortHolder {
  scheduler: string;
  /** The room's. */
  id: string;
}

/** What the runtime says that a room's instance holds, whether it was reserved or not. */
export interface HostPortsInUse extends HostPortHolder {
  /** The machines that may run it (`Runtime.poolOf`). */
  pool: string;
  ports: readonly Pick<RoomPort, 'protocol' | 'port'>[];
}

/** What the store knows of one holder. */
export interface HeldHostPorts extends HostPortsInUse {
  /** The store's clock, as all times here. Milliseconds since the epoch. */
  sinceMs: number;
  /** Until when they are kept although no machine had them; null when nobody said so. */
  refusedUntilMs: number | null;
}

/** For so long nobody is given numbers that no machine had (`refuse`), unless there are no others. Milliseconds. */
export const refusedForMs = 300_000;

/**
 * Which rooms hold which ports of their hosts, over all schedulers, because their ranges may overlap.
 *
 * Promises: a number of a protocol is reserved for at most `hosts` rooms of a pool, however many ask at once: no machine takes
 * two instances with the same number and protocol, so where a pool has so many machines, its rooms that hold it need never share
 * one. A number that nobody holds comes first; only where a range has none left is one given again: the one that the fewest of
 * the pool hold, and of those the one that the fewest of other pools hold. Other pools do not count for the bound, because it is not
 * known which machines they share: where they do, an instance may find no machine, and its room's ports are drawn anew. All is atomic per room. TCP 8000 and UDP 8000 have nothing to do with each other. Idempotent: a room that asks again gets the same.
 *
 * It may be lost with the rest of the room state. Until the watcher has said again what is in use (`hold`), a number may then
 * be given that a running room has: at worst an instance finds no machine, or is refused, and its room's ports are drawn anew.
 * Not in here: what runs on which machine, ports of those who do not ask (other programs, other installations).
 */
export abstract class HostPortReservations {
  /**
   * A number for each that is wanted, in their order. What the room held before is what it gets, unless that does not fit what is
   * wanted or is to be avoided: then it is given back, and others are drawn. `hosts`: machines of the pool.
   * `avoiding`: numbers of which the caller knows that something else uses them.
   * @throws DomainError `room.host_ports_exhausted` (resource_exhausted) when a range has too few left.
   */
  abstract reserve(
    room: HostPortHolder,
    wanted: readonly WantedHostPort[],
    limits: { pool: string; hosts: number; avoiding?: ReadonlySet<number> },
  ): Promise<number[]>;

  /**
   * These are in use, whatever was reserved: it takes the place of what is known of these rooms, also beyond the bound. But for the
   * pool, which an instance never changes: `pool` is that of rooms of which none is known.
   */
  abstract hold(rooms: readonly HostPortsInUse[]): Promise<void>;

  /** The rooms are over, or never came to be. What was refused stays held until its time is over (`refuse`). Idempotent. */
  abstract release(rooms: readonly HostPortHolder[]): Promise<void>;

  /** The same for every room of a scheduler, also those whose ports were refused. Looks at all holders: not for hot paths. */
  abstract releaseScheduler(scheduler: string): Promise<void>;

  /**
   * No machine has these ports free: the room goes, and nobody is given them for `refusedForMs`, as if it still held them. Without
   * this the next room would be given the very same ones where a range is nearly full.
   */
  abstract refuse(room: HostPortHolder): Promise<void>;

  /** All holders, in pages of a thousand or so, and the store's clock. */
  abstract list(): Promise<{ nowMs: number; holders: HeldHostPorts[] }>;

  /** Counts anew how many rooms hold each number, repairs what differs, and answers how many did. */
  abstract recount(): Promise<{ repaired: number }>;
}
