import { messageOf } from '../../domain/errors';
import type { Instance } from '../../domain/room/room';
import type { HostPortReservations } from '../../ports/host-port-reservations';
import type { Logger } from '../../ports/logger';
import type { Metrics } from '../../ports/metrics';
import type { OperationStore } from '../../ports/operation-store';
import type { RoomStore } from '../../ports/room-store';
import type { Runtime } from '../../ports/runtime';
import type { SchedulerSettingsCache } from '../schedulers/scheduler-settings';

/** A room may be recorded this long before its instance exists. Milliseconds. */
export const creationDeadlineMs = 15_000;

/** Why an instance should not be there, with what is said when it was deleted. */
const strays = {
  unknown_scheduler: {
    reason: 'scheduler_deleted',
    drift: 'instance_unknown',
    message: 'an instance of a scheduler that does not exist was deleted',
  },
  validation_over: {
    reason: 'new_version_validation_finished',
    drift: 'validation_room_left',
    message: 'a validation room was deleted that no operation waits for',
  },
} as const;
type Stray = keyof typeof strays;

/**
 * Compares a full list of instances with the room state. Nothing is removed on one reading: a record without instance needs
 * two lists that lack it, an instance of an unknown scheduler two lists some time apart, and so does a validation room of a
 * scheduler that makes no new version. Its operation removes it; this is for a database that was restored, and for a start
 * that came through after the room had been removed.
 */
export class Reconciliation {
  /** Rooms that the last list lacked, and since when lists lack them. */
  private missingSinceMs = new Map<string, number>();
  /** Some record has no instance, and is too young to be judged. */
  private someAreYoung = false;
  /** When an instance that should not be there was first seen. */
  private straySinceMs = new Map<string, number>();

  constructor(
    private readonly rooms: RoomStore,
    private readonly hostPorts: HostPortReservations,
    private readonly runtime: Runtime,
    private readonly settings: SchedulerSettingsCache,
    private readonly operations: OperationStore,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: {
      /** An instance that should not be there is deleted only when it was seen twice, this far apart. Milliseconds. */
      strayInstanceAgeMs: number;
      /** Two lists that come closer together than this are one reading. Milliseconds. */
      secondLookAfterMs: number;
    },
  ) {}

  /** Whether something waits for a second reading. */
  get inDoubt(): boolean {
    return this.missingSinceMs.size > 0 || this.someAreYoung || this.straySinceMs.size > 0;
  }

  /** Answers the schedulers whose rooms changed. `recounts`: the counters are checked too. */
  async compare(instances: Instance[], nowMs: number, { recounts }: { recounts: boolean }): Promise<Set<string>> {
    const touched = await this.cleanRecords(new Set(instances.map(keyOf)), nowMs);
    await this.deleteStrays(instances, nowMs);
    for (const scheduler of recounts ? await this.rooms.listSchedulers() : []) {
      const { repaired } = await this.rooms.recountFleet(scheduler);
      if (repaired > 0) {
        this.metrics.driftRepaired('counter', repaired);
        this.logger.warn({ scheduler_name: scheduler, repaired }, 'counters of rooms differed from a recount');
      }
    }
    return touched;
  }

  private async cleanRecords(present: ReadonlySet<string>, nowMs: number): Promise<Set<string>> {
    const touched = new Set<string>();
    const missingSinceMs = new Map<string, number>();
    let someAreYoung = false;
    for (const scheduler of await this.rooms.listSchedulers()) {
      const fleet = await this.rooms.readFleet(scheduler);
      for (const room of fleet.rooms) {
        const key = keyOf(room);
        if (present.has(key)) continue;
        if (fleet.nowMs - room.createdAtMs < creationDeadlineMs) {
          someAreYoung = true;
          continue;
        }
        const sinceMs = this.missingSinceMs.get(key) ?? nowMs;
        if (nowMs - sinceMs < Math.max(1, this.options.secondLookAfterMs)) {
          missingSinceMs.set(key, sinceMs);
          continue;
        }
        await Promise.all([this.rooms.endRoom(scheduler, room.id), this.hostPorts.release([room])]);
        touched.add(scheduler);
        this.metrics.driftRepaired('room_without_instance', 1);
        this.logger.info({ scheduler_name: scheduler, room_id: room.id }, 'a room without instance was removed');
      }
    }
    this.missingSinceMs = missingSinceMs;
    this.someAreYoung = someAreYoung;
    return touched;
  }

  private async deleteStrays(instances: Instance[], nowMs: number): Promise<void> {
    const straySinceMs = new Map<string, number>();
    for (const instance of instances) {
      const key = keyOf(instance);
      const seenSinceMs = this.straySinceMs.get(key);
      let stray: Stray | null;
      try {
        stray = await this.strayOf(instance);
      } catch (error) {
        // Nobody knows now. The rest of the comparison does not depend on it.
        if (seenSinceMs !== undefined) straySinceMs.set(key, seenSinceMs);
        this.logger.warn({ room_id: instance.id, err: messageOf(error) }, 'whether an instance is stray is not known');
        continue;
      }
      if (stray === null) continue;
      const sinceMs = seenSinceMs ?? nowMs;
      straySinceMs.set(key, sinceMs);
      if (nowMs - sinceMs < this.options.strayInstanceAgeMs || instance.status === 'terminating') continue;
      const { reason, drift, message } = strays[stray];
      try {
        await this.runtime.deleteInstance(instance.scheduler, instance.id, reason);
        this.metrics.driftRepaired(drift, 1);
        this.logger.warn({ scheduler_name: instance.scheduler, room_id: instance.id }, message);
      } catch (error) {
        this.logger.warn({ room_id: instance.id, err: messageOf(error) }, 'a stray instance could not be deleted');
      }
    }
    this.straySinceMs = straySinceMs;
  }

  private async strayOf({ scheduler, validation }: Instance): Promise<Stray | null> {
    if ((await this.settings.find(scheduler)) === null) return 'unknown_scheduler';
    if (!validation) return null;
    const change = await this.operations.findOpen(scheduler, ['create_new_scheduler_version']);
    return change === null ? 'validation_over' : null;
  }
}

function keyOf({ scheduler, id }: { scheduler: string; id: string }): string {
  return `${scheduler}/${id}`;
}
