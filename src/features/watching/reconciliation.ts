import { messageOf } from '../../domain/errors';
import type { Instance, Room } from '../../domain/room/room';
import type { HostPortReservations } from '../../ports/host-port-reservations';
import type { Logger } from '../../ports/logger';
import type { Metrics } from '../../ports/metrics';
import type { OperationStore } from '../../ports/operation-store';
import type { RoomStore } from '../../ports/room-store';
import type { Runtime, RuntimeInstance } from '../../ports/runtime';
import type { SchedulerSettingsCache } from '../schedulers/scheduler-settings';
import { instanceKey } from './instance-key';

/**
 * A room may be recorded this long before its instance exists: longer than a whole start takes that still comes to something. It
 * counts the machines and makes the instance, and both may wait 30 s for an answer, be asked again, and wait for their turn among
 * other calls. Whose record ended before would be removed though it had just started. Milliseconds.
 */
export const creationDeadlineMs = 90_000;
/** Instances that are deleted side by side: each deletion may wait long for its answer. */
const parallelDeletions = 5;

/** Said of a room whose instance was gone, or not marked as ours any more, before anybody heard of it. */
const missingWords = 'no instance of it was found any more';

/** Why an instance should not be there, with what is said when it was deleted. */
const strays = {
  unknown_scheduler: {
    reason: 'scheduler_deleted',
    drift: 'instance_unknown',
    message: 'an instance of a scheduler that does not exist was deleted',
  },
  room_ended: {
    reason: 'scale_down',
    drift: 'ended_room_left',
    message: 'an instance was deleted whose room had ended before',
  },
  validation_over: {
    reason: 'new_version_validation_finished',
    drift: 'validation_room_left',
    message: 'a validation room was deleted that no operation waits for',
  },
} as const;
type Stray = keyof typeof strays;

export interface ListFacts {
  /** Instances of the list whose rooms are over, as the room state says (`instanceKey`). */
  ended: ReadonlySet<string>;
  /** For how long the list has been on its way: what was recorded since cannot be in it. Milliseconds. */
  ageMs: number;
  /** The counters are checked too. */
  recounts: boolean;
}

/**
 * Compares a full list of instances with the room state. Nothing is removed on one reading: a record without instance needs
 * two lists that lack it, an instance of an unknown scheduler two lists some time apart, and so does one whose room has ended (its
 * start came through late, and nobody else knows of it), and a validation room of a scheduler that makes no new version. Its
 * operation removes it; this is for a database that was restored, and for a start that came through after the room had been removed.
 * One whose room has ended and that is marked as having a match was lost out of sight and came back: it is left alone.
 */
export class Reconciliation {
  /** Rooms that the last list lacked, and since when lists lack them. */
  private missingSinceMs = new Map<string, number>();
  /** When an instance that should not be there, and is not ending, was first seen. */
  private straySinceMs = new Map<string, number>();
  /** Strays that were seen for long enough. */
  private overdue: { instance: Instance; stray: Stray }[] = [];
  /** Strays that are left alone because players may be in them. */
  private spared: ReadonlyMap<string, Instance> = new Map();
  private deleting: Promise<void> | null = null;
  private lookInMs: number | null = null;
  /** How many comparisons in a row found no doubt that the one before had not found. */
  private sameDoubts = 0;

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
      /** How soon doubts want another look; those that remain the same want it half as often each time. Milliseconds. */
      doubtIntervalMs: number;
      /** A record whose start was tried later, and whose instance nobody has heard of, may have none yet. Milliseconds. */
      creationDeadlineMs: number;
    },
  ) {}

  /** How soon the next list should be compared, after the one that was compared last; null when nothing waits for it. */
  get lookAgainInMs(): number | null {
    return this.lookInMs;
  }

  /** Whether an instance that should not be there was seen before by a list that was compared. */
  wasStray(key: string): boolean {
    return this.straySinceMs.has(key);
  }

  /** Answers the schedulers whose rooms changed. Strays are only found: `deleteStrays`. */
  async compare(instances: RuntimeInstance[], nowMs: number, facts: ListFacts): Promise<Set<string>> {
    const before = new Set([...this.missingSinceMs.keys(), ...this.straySinceMs.keys()]);
    const { touched, youngForMs } = await this.cleanRecords(new Set(instances.map(instanceKey)), nowMs, facts.ageMs);
    await this.findStrays(instances, nowMs, facts.ended);
    this.planNextLook(before, youngForMs, nowMs);
    for (const scheduler of facts.recounts ? await this.rooms.listSchedulers() : []) {
      const { repaired } = await this.rooms.recountFleet(scheduler);
      if (repaired > 0) {
        this.metrics.driftRepaired('counter', repaired);
        this.logger.warn({ scheduler_name: scheduler, repaired }, 'counters of rooms differed from a recount');
      }
    }
    return touched;
  }

  /**
   * Deletes the strays that the last comparison found overdue. Nobody should wait for it with anything else: each deletion may take
   * long. One that is under way already is not begun anew. What fails is found again by the next comparison. Does not fail.
   */
  deleteStrays(signal: AbortSignal): Promise<void> {
    this.deleting ??= this.deleteOverdue(signal).finally(() => (this.deleting = null));
    return this.deleting;
  }

  /** `youngForMs`: how long the oldest record that is too young to be judged remains so. */
  private async cleanRecords(
    present: ReadonlySet<string>,
    nowMs: number,
    listAgeMs: number,
  ): Promise<{ touched: Set<string>; youngForMs: number }> {
    const { creationDeadlineMs: deadlineMs, secondLookAfterMs } = this.options;
    const listedAtMs = performance.now() - listAgeMs;
    const touched = new Set<string>();
    const missingSinceMs = new Map<string, number>();
    let youngForMs = Infinity;
    for (const scheduler of await this.rooms.listSchedulers()) {
      const fleet = await this.rooms.readFleet(scheduler);
      const sinceListMs = performance.now() - listedAtMs;
      for (const room of fleet.rooms) {
        const key = instanceKey(room);
        if (present.has(key)) continue;
        // Whoever starts it may have tried again since, and tries again soon.
        const ageMs = fleet.nowMs - (room.startPutOff?.lastAtMs ?? room.createdAtMs);
        if (ageMs < sinceListMs) continue;
        // An instance that was heard of has been made: where it is now, two lists say.
        if (room.instance.status === 'unknown' && ageMs < deadlineMs) {
          youngForMs = Math.min(youngForMs, deadlineMs - ageMs);
          continue;
        }
        const sinceMs = this.missingSinceMs.get(key) ?? nowMs;
        if (nowMs - sinceMs < Math.max(1, secondLookAfterMs)) {
          missingSinceMs.set(key, sinceMs);
          continue;
        }
        // A start that was put off was Maestro's own; otherwise nobody here knows what became of it.
        const putOff = room.startPutOff?.reason ?? '';
        const unasked = putOff === '' ? missingWords : '';
        await Promise.all([this.rooms.endRoom(scheduler, room.id, putOff, unasked), this.leavePorts(room)]);
        touched.add(scheduler);
        this.metrics.driftRepaired('room_without_instance', 1);
        this.logger.info({ scheduler_name: scheduler, room_id: room.id }, 'a room without instance was removed');
      }
    }
    this.missingSinceMs = missingSinceMs;
    return { touched, youngForMs };
  }

  /** What was not marked as ours any more, unheard of, runs on and uses its ports. What never was there uses none. */
  private leavePorts(room: Room): Promise<void> {
    return room.instance.status === 'unknown' ? this.hostPorts.release([room]) : this.hostPorts.refuse(room);
  }

  private async findStrays(instances: RuntimeInstance[], nowMs: number, ended: ReadonlySet<string>): Promise<void> {
    const straySinceMs = new Map<string, number>();
    const spared = new Map<string, Instance>();
    this.overdue = [];
    for (const instance of instances) {
      if (instance.status === 'terminating') continue;
      const key = instanceKey(instance);
      const seenSinceMs = this.straySinceMs.get(key);
      let stray: Stray | null;
      try {
        stray = await this.strayOf(instance, ended.has(key));
      } catch (error) {
        // Nobody knows now. The rest of the comparison does not depend on it.
        if (seenSinceMs !== undefined) straySinceMs.set(key, seenSinceMs);
        this.logger.warn({ room_id: instance.id, err: messageOf(error) }, 'whether an instance is stray is not known');
        continue;
      }
      if (stray === null) continue;
      const sinceMs = seenSinceMs ?? nowMs;
      straySinceMs.set(key, sinceMs);
      if (nowMs - sinceMs < this.options.strayInstanceAgeMs) continue;
      if (stray === 'room_ended' && instance.isProtected === true) spared.set(key, instance);
      else this.overdue.push({ instance, stray });
    }
    this.straySinceMs = straySinceMs;
    this.tellOfSpared(spared);
  }

  /** Once for each, as long as it is there. */
  private tellOfSpared(spared: ReadonlyMap<string, Instance>): void {
    for (const [key, { scheduler, id }] of spared) {
      if (this.spared.has(key)) continue;
      this.logger.warn(
        { scheduler_name: scheduler, room_id: id },
        'an instance has no room any more, and is marked as having a match: it is not deleted',
      );
    }
    this.spared = spared;
  }

  /** A doubt wants no look before it can be decided, and one that no look decides wants them less and less often. */
  private planNextLook(before: ReadonlySet<string>, youngForMs: number, nowMs: number): void {
    const { doubtIntervalMs, strayInstanceAgeMs } = this.options;
    const doubts = [...this.missingSinceMs.keys(), ...this.straySinceMs.keys()];
    this.sameDoubts = doubts.length > 0 && doubts.every((key) => before.has(key)) ? this.sameDoubts + 1 : 0;
    const intervalMs = doubtIntervalMs * 2 ** this.sameDoubts;
    let lookInMs = Math.max(doubtIntervalMs, youngForMs);
    if (this.missingSinceMs.size > 0) lookInMs = Math.min(lookInMs, intervalMs);
    for (const sinceMs of this.straySinceMs.values()) {
      const leftMs = sinceMs + strayInstanceAgeMs - nowMs;
      lookInMs = Math.min(lookInMs, leftMs > 0 ? Math.max(doubtIntervalMs, leftMs) : intervalMs);
    }
    this.lookInMs = lookInMs === Infinity ? null : lookInMs;
  }

  private async deleteOverdue(signal: AbortSignal): Promise<void> {
    const { overdue } = this;
    for (let start = 0; start < overdue.length && !signal.aborted; start += parallelDeletions) {
      await Promise.all(overdue.slice(start, start + parallelDeletions).map((each) => this.deleteOne(each)));
    }
  }

  private async deleteOne({ instance, stray }: { instance: Instance; stray: Stray }): Promise<void> {
    const { scheduler, id, validation } = instance;
    const { drift, message } = strays[stray];
    const reason = stray === 'room_ended' && validation ? strays.validation_over.reason : strays[stray].reason;
    try {
      // Where it has a record, nobody is to believe that somebody else ended it.
      if (stray === 'validation_over') await this.rooms.terminateRooms(scheduler, [id], { reason });
      await this.runtime.deleteInstance(scheduler, id, reason);
      this.metrics.driftRepaired(drift, 1);
      this.logger.warn({ scheduler_name: scheduler, room_id: id }, message);
    } catch (error) {
      this.logger.warn({ room_id: id, err: messageOf(error) }, 'a stray instance could not be deleted');
    }
  }

  private async strayOf({ scheduler, validation }: Instance, hasEnded: boolean): Promise<Stray | null> {
    if ((await this.settings.find(scheduler)) === null) return 'unknown_scheduler';
    if (hasEnded) return 'room_ended';
    if (!validation) return null;
    const change = await this.operations.findOpen(scheduler, ['create_new_scheduler_version']);
    return change === null ? 'validation_over' : null;
  }
}
