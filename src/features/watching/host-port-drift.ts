import type { HostPortHolder, HostPortReservations, HostPortsInUse } from '../../ports/host-port-reservations';
import type { Logger } from '../../ports/logger';
import type { Metrics } from '../../ports/metrics';
import type { RoomStore } from '../../ports/room-store';
import { instanceKey } from './instance-key';

/** Rooms that are asked for at once. */
const readBatchSize = 500;

/**
 * Compares a full list of instances with the host ports that are reserved: what is in use is held (after the room state was lost,
 * or for rooms that somebody else started), and what neither an instance nor a record accounts for is given back.
 */
export class HostPortDrift {
  constructor(
    private readonly hostPorts: HostPortReservations,
    private readonly rooms: RoomStore,
    /** Machines that may run the scheduler's rooms (`Runtime.poolOf`). */
    private readonly poolOf: (scheduler: string) => Promise<string>,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    /** What was reserved for a room that is being made is not given back sooner. Milliseconds. */
    private readonly options: { creationDeadlineMs: number },
  ) {}

  /**
   * `ended`: instances of the list of which it is known that they may be gone by now. `recounts`: how many hold each number is
   * counted anew too. A few round trips per thousand rooms; nothing is written where nothing differs.
   */
  async repair(
    instances: readonly (HostPortHolder & { hostPorts: HostPortsInUse['ports'] })[],
    { ended, recounts }: { ended: ReadonlySet<string>; recounts: boolean },
  ): Promise<void> {
    const { nowMs, holders } = await this.hostPorts.list();
    const held = new Map(holders.map((holder) => [instanceKey(holder), numbersOf(holder.ports)]));
    const unheld = instances.filter(
      (instance) =>
        !ended.has(instanceKey(instance)) && (held.get(instanceKey(instance)) ?? '') !== numbersOf(instance.hostPorts),
    );
    const pools = new Map<string, string>();
    for (const { scheduler } of unheld) {
      if (!pools.has(scheduler)) pools.set(scheduler, await this.poolOf(scheduler));
    }
    await this.hostPorts.hold(
      unheld.map(({ scheduler, id, hostPorts: ports }) => ({ scheduler, id, pool: pools.get(scheduler) ?? '', ports })),
    );
    const present = new Set(instances.map(instanceKey));
    const left = await this.withoutRecord(
      holders.filter(
        (holder) =>
          !present.has(instanceKey(holder)) &&
          nowMs - holder.sinceMs > this.options.creationDeadlineMs &&
          (holder.refusedUntilMs ?? 0) <= nowMs,
      ),
    );
    await this.hostPorts.release(left);
    const { repaired } = recounts ? await this.hostPorts.recount() : { repaired: 0 };
    if (unheld.length + left.length > 0) {
      this.metrics.driftRepaired('host_ports', unheld.length + left.length);
      this.logger.info(
        { held: unheld.length, given_back: left.length },
        'reserved host ports differed from what runs, and were brought in line',
      );
    }
    if (repaired > 0) {
      this.metrics.driftRepaired('counter', repaired);
      this.logger.warn({ repaired }, 'counters of host ports differed from a recount');
    }
  }

  /** The record is made before anything is reserved: who has none does not start. */
  private async withoutRecord<T extends HostPortHolder>(holders: readonly T[]): Promise<T[]> {
    const left: T[] = [];
    for (const scheduler of new Set(holders.map((holder) => holder.scheduler))) {
      const its = holders.filter((holder) => holder.scheduler === scheduler);
      for (let start = 0; start < its.length; start += readBatchSize) {
        const batch = its.slice(start, start + readBatchSize);
        const ids = batch.map(({ id }) => id);
        const { rooms } = await this.rooms.readRooms(scheduler, ids);
        left.push(...batch.filter(({ id }) => !rooms.has(id)));
      }
    }
    return left;
  }
}

function numbersOf(ports: HostPortsInUse['ports']): string {
  return ports.map(({ protocol, port }) => `${protocol}/${port}`).join(' ');
}
