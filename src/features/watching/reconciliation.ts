import { messageOf } from '../../domain/errors';
import type { Instance } from '../../domain/room/room';
import type { Logger } from '../../ports/logger';
import type { Metrics } from '../../ports/metrics';
import type { RoomStore } from '../../ports/room-store';
import type { Runtime } from '../../ports/runtime';
import type { SchedulerSettingsCache } from '../schedulers/scheduler-settings';

/** A room may be recorded this long before its instance exists. Milliseconds. */
const creationDeadlineMs = 15_000;

/**
 * Compares a full list of instances with the room state. Nothing is removed on one reading: a record without instance needs
 * two lists that lack it, an instance of an unknown scheduler two lists some time apart.
 */
export class Reconciliation {
  /** Rooms that the last list lacked, and since when lists lack them. */
  private missingSinceMs = new Map<string, number>();
  /** Some record has no instance, and is too young to be judged. */
  private someAreYoung = false;
  /** When an instance without scheduler was first seen. */
  private unknownSinceMs = new Map<string, number>();

  constructor(
    private readonly rooms: RoomStore,
    private readonly runtime: Runtime,
    private readonly settings: SchedulerSettingsCache,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: {
      /** An instance of an unknown scheduler is deleted only when it was seen twice, this far apart. Milliseconds. */
      unknownInstanceAgeMs: number;
      /** Two lists that come closer together than this are one reading. Milliseconds. */
      secondLookAfterMs: number;
    },
  ) {}

  /** Whether something waits for a second reading. */
  get inDoubt(): boolean {
    return this.missingSinceMs.size > 0 || this.someAreYoung || this.unknownSinceMs.size > 0;
  }

  /** Answers the schedulers whose rooms changed. `recounts`: the counters are checked too. */
  async compare(instances: Instance[], nowMs: number, { recounts }: { recounts: boolean }): Promise<Set<string>> {
    const touched = await this.cleanRecords(new Set(instances.map(keyOf)), nowMs);
    await this.deleteUnknown(instances, nowMs);
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
        await this.rooms.endRoom(scheduler, room.id);
        touched.add(scheduler);
        this.metrics.driftRepaired('room_without_instance', 1);
        this.logger.info({ scheduler_name: scheduler, room_id: room.id }, 'a room without instance was removed');
      }
    }
    this.missingSinceMs = missingSinceMs;
    this.someAreYoung = someAreYoung;
    return touched;
  }

  private async deleteUnknown(instances: Instance[], nowMs: number): Promise<void> {
    const unknown = new Map<string, number>();
    for (const instance of instances) {
      if ((await this.settings.find(instance.scheduler)) !== null) continue;
      const key = keyOf(instance);
      const sinceMs = this.unknownSinceMs.get(key) ?? nowMs;
      unknown.set(key, sinceMs);
      if (nowMs - sinceMs < this.options.unknownInstanceAgeMs || instance.status === 'terminating') continue;
      try {
        await this.runtime.deleteInstance(instance.scheduler, instance.id, 'scheduler_deleted');
        this.metrics.driftRepaired('instance_unknown', 1);
        this.logger.warn(
          { scheduler_name: instance.scheduler, room_id: instance.id },
          'an instance of a scheduler that does not exist was deleted',
        );
      } catch (error) {
        this.logger.warn({ room_id: instance.id, err: messageOf(error) }, 'an unknown instance could not be deleted');
      }
    }
    this.unknownSinceMs = unknown;
  }
}

function keyOf({ scheduler, id }: { scheduler: string; id: string }): string {
  return `${scheduler}/${id}`;
}
