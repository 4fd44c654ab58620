import { messageOf } from '../../domain/errors';
import type { HostPortReservations } from '../../ports/host-port-reservations';
import type { Logger } from '../../ports/logger';
import type { RoomStore } from '../../ports/room-store';
import type { Runtime, RuntimeInstance } from '../../ports/runtime';
import { instanceKey } from './instance-key';

type Facts = Pick<RuntimeInstance, 'scheduler' | 'id' | 'status' | 'placementProblem'>;
type Key = Pick<RuntimeInstance, 'scheduler' | 'id'>;

/** Instances that are deleted side by side. */
const parallelDeletions = 20;

/**
 * Replaces rooms whose instances no machine can take, because their host ports are in use on each: by something that asked nobody,
 * or by rooms of ours that were started while the room state was lost. Their ports are kept from others for a while, so that the
 * next room is given other ones.
 *
 * An instance must be seen so twice, and have been so for `patienceMs`: ports come free as other rooms end. A room with a match is
 * never replaced. Those that lack resources, or a machine that they may use, are left to whoever adds machines. Each replacement
 * counts as a room that ended early (`start-back-off.ts`), so a range that is full on every machine is not tried without end.
 */
export class UnplacedRooms {
  /** Those that lack their ports, and since when. */
  private readonly waiting = new Map<string, Key & { sinceMs: number }>();
  /** Why rooms were replaced, until their instances are gone. */
  private readonly replaced = new Map<string, string>();

  constructor(
    private readonly runtime: Runtime,
    private readonly rooms: RoomStore,
    private readonly hostPorts: HostPortReservations,
    private readonly logger: Logger,
    private readonly options: { patienceMs: number },
  ) {}

  /** To be told of instances of known schedulers, whenever something is heard of them. */
  note(instance: Facts, nowMs: number): void {
    const key = instanceKey(instance);
    if (!lacksPorts(instance)) this.waiting.delete(key);
    else if (!this.waiting.has(key)) {
      this.waiting.set(key, { scheduler: instance.scheduler, id: instance.id, sinceMs: nowMs });
    }
  }

  /** Why it was replaced; null when it was not. */
  reasonOf(instance: Key): string | null {
    return this.replaced.get(instanceKey(instance)) ?? null;
  }

  /** Its instance is gone. */
  forget(instance: Key): void {
    this.waiting.delete(instanceKey(instance));
    this.replaced.delete(instanceKey(instance));
  }

  /** These are all that there are. */
  keepOnly(instances: readonly Key[]): void {
    const kept = new Set(instances.map(instanceKey));
    for (const known of [this.waiting, this.replaced]) {
      for (const key of known.keys()) if (!kept.has(key)) known.delete(key);
    }
  }

  /** The second look at those whose time is over. What fails is tried again at the next call. */
  async replaceOverdue(nowMs: number, signal: AbortSignal): Promise<void> {
    const overdue = [...this.waiting.values()].filter(({ sinceMs }) => nowMs - sinceMs >= this.options.patienceMs);
    for (const scheduler of new Set(overdue.map((each) => each.scheduler))) {
      if (signal.aborted) return;
      try {
        const ids = overdue.filter((each) => each.scheduler === scheduler).map(({ id }) => id);
        await this.replaceOf(scheduler, new Set(ids), nowMs, signal);
      } catch (error) {
        this.logger.warn(
          { scheduler_name: scheduler, err: messageOf(error) },
          'rooms whose host ports no machine has could not be replaced',
        );
      }
    }
  }

  private async replaceOf(
    scheduler: string,
    ids: ReadonlySet<string>,
    nowMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const listed = (await this.runtime.listInstances(scheduler)).filter(({ id }) => ids.has(id));
    const going = listed.filter(lacksPorts);
    // Somebody heard of the others, or is about to.
    for (const id of ids)
      if (!going.some((instance) => instance.id === id)) this.waiting.delete(instanceKey({ scheduler, id }));
    if (going.length === 0 || signal.aborted) return;
    const answers = await this.rooms.terminateRooms(
      scheduler,
      going.map(({ id }) => id),
      { reason: 'host_port_taken', failedBecause: going[0]!.description },
    );
    for (let start = 0; start < going.length; start += parallelDeletions) {
      await Promise.all(
        going.slice(start, start + parallelDeletions).map(async (instance) => {
          if (answers.get(instance.id) === 'terminating') return this.delete(instance);
          // A match is said to run there, or its record is not made yet: as if it were seen for the first time.
          this.waiting.set(instanceKey(instance), { scheduler, id: instance.id, sinceMs: nowMs });
        }),
      );
    }
  }

  private async delete({ scheduler, id, description }: RuntimeInstance): Promise<void> {
    await this.hostPorts.refuse({ scheduler, id });
    this.replaced.set(instanceKey({ scheduler, id }), description);
    const answer = await this.runtime.deleteInstance(scheduler, id, 'host_port_taken');
    if (answer === 'deleting') await this.rooms.noteEndAsked(scheduler, [id]);
    this.waiting.delete(instanceKey({ scheduler, id }));
    this.logger.warn(
      { scheduler_name: scheduler, room_id: id, reason: description },
      'a room was removed because no machine has its host ports free; the next one is given others',
    );
  }
}

function lacksPorts({ status, placementProblem }: Pick<Facts, 'status' | 'placementProblem'>): boolean {
  return status === 'pending' && placementProblem === 'host_ports';
}
