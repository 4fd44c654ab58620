import { Injectable } from '@nestjs/common';
import { messageOf } from '../../domain/errors';
import { wordsOfUnaskedEnd } from '../../domain/room/failure-reason';
import { printContainerEnd } from '../../domain/room/print-container-end';
import type { Instance, RoomStatus } from '../../domain/room/room';
import { HostPortReservations } from '../../ports/host-port-reservations';
import { Logger } from '../../ports/logger';
import { LoopLeases } from '../../ports/loop-leases';
import { Metrics } from '../../ports/metrics';
import { OperationStore } from '../../ports/operation-store';
import { RoomStore, type InstanceOutcome } from '../../ports/room-store';
import { Runtime, type InstanceChange, type RuntimeInstance } from '../../ports/runtime';
import { WakeUps } from '../../ports/wake-ups';
import { holdLoopLease } from '../hold-loop-lease';
import { pause, repeatUntilAborted } from '../repeat-until-aborted';
import { HealthRings } from '../rooms/health-rings';
import { SchedulerSettingsCache } from '../schedulers/scheduler-settings';
import { FailureCounts } from './failure-counts';
import { HostPortDrift } from './host-port-drift';
import { instanceKey } from './instance-key';
import { Reconciliation } from './reconciliation';
import { SchedulerDeletions } from './scheduler-deletions';
import { UnplacedRooms } from './unplaced-rooms';

export class InstanceWatchOptions {
  readonly owner!: string;
  readonly leaseTtlMs!: number;
  /** How often runtime and room state are compared as a whole. Milliseconds. */
  readonly reconcileIntervalMs!: number;
  /** How soon they are compared again when something differs, and at most how often. Milliseconds. */
  readonly doubtIntervalMs!: number;
  /** How often the room state is asked whether it was lost. Milliseconds. */
  readonly syncCheckIntervalMs!: number;
  /** An instance that should not be there is deleted only when it was seen twice, this far apart. Milliseconds. */
  readonly strayInstanceAgeMs!: number;
  /** A record that is younger may have no instance yet. Milliseconds. */
  readonly creationDeadlineMs!: number;
  /** How long a room waits for a machine that has its host ports free, before it is replaced. Milliseconds. */
  readonly hostPortPatienceMs!: number;
}

const changeAttempts = 5;
const listBatchSize = 200;

/**
 * Follows the runtime's instances into room state. One process of all holds the loop; it lists at start, after each gap,
 * every few minutes, again soon while something is in doubt (less and less often while it stays so), and at once when the room state
 * was lost.
 */
@Injectable()
export class InstanceWatch {
  private wasSynced = false;
  private readonly failures: FailureCounts;
  private readonly unplaced: UnplacedRooms;
  private readonly deletions: SchedulerDeletions;

  constructor(
    private readonly runtime: Runtime,
    private readonly rooms: RoomStore,
    private readonly hostPorts: HostPortReservations,
    private readonly settings: SchedulerSettingsCache,
    private readonly operations: OperationStore,
    private readonly wakeUps: WakeUps,
    private readonly healthRings: HealthRings,
    private readonly leases: LoopLeases,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: InstanceWatchOptions,
  ) {
    this.failures = new FailureCounts(metrics);
    this.deletions = new SchedulerDeletions(operations);
    const { hostPortPatienceMs: patienceMs } = options;
    this.unplaced = new UnplacedRooms(runtime, rooms, hostPorts, logger, { patienceMs });
  }

  run(signal: AbortSignal): Promise<void> {
    const { owner, leaseTtlMs: ttlMs } = this.options;
    return holdLoopLease(this.leases, { name: 'runtime-watcher', owner, ttlMs }, this.logger, signal, (held) =>
      this.follow(held),
    );
  }

  private async follow(signal: AbortSignal): Promise<void> {
    const { strayInstanceAgeMs, doubtIntervalMs, reconcileIntervalMs, creationDeadlineMs } = this.options;
    const { rooms, hostPorts, runtime, settings, operations, metrics, logger } = this;
    const reconciliation = new Reconciliation(rooms, hostPorts, runtime, settings, operations, metrics, logger, {
      strayInstanceAgeMs,
      // The list that opens a watch and the first periodic one may come close together: they are one reading.
      secondLookAfterMs: doubtIntervalMs / 2,
      doubtIntervalMs,
      creationDeadlineMs,
    });
    const poolOf = (scheduler: string): Promise<string> => this.poolOf(scheduler);
    const hostPortDrift = new HostPortDrift(hostPorts, rooms, poolOf, metrics, logger, { creationDeadlineMs });
    // A failed watch ends the round: the lease loop starts it again.
    const ended = new AbortController();
    const whole = AbortSignal.any([signal, ended.signal]);
    let dueAt = Date.now() + doubtIntervalMs;
    let thoroughAt = 0;
    let changesMissed = false;
    /** The list that opens the watch has been stored; until then there is nothing to compare with. */
    let isOpen = false;
    let deletingStrays = Promise.resolve();
    const reconcile = async (
      instances: RuntimeInstance[],
      { authoritative, askedAtMs }: { authoritative: boolean; askedAtMs: number },
    ): Promise<void> => {
      if (authoritative) {
        this.failures.keepOnly(instances);
        this.unplaced.keepOnly(instances);
      }
      const wasComplete = !authoritative && (await this.rooms.isSynced());
      const thorough = Date.now() >= thoroughAt;
      const ended = await this.applyList(instances, authoritative, whole);
      // The end of an instance may have been heard of since a list was asked for beside the changes; two such lists are sure.
      const mayBeGone = [...ended].filter((key) => !authoritative && !reconciliation.wasStray(key));
      // Before the room state counts as complete, because rooms are started from then on.
      await hostPortDrift.repair(instances, { ended: new Set(mayBeGone), recounts: thorough });
      const ageMs = performance.now() - askedAtMs;
      const touched = await reconciliation.compare(instances, Date.now(), { ended, ageMs, recounts: thorough });
      whole.throwIfAborted();
      await this.rooms.markSynced();
      this.wasSynced = true;
      this.metrics.loopFinished('runtime_watcher');
      if (thorough) thoroughAt = Date.now() + reconcileIntervalMs;
      dueAt = Date.now() + Math.min(reconciliation.lookAgainInMs ?? Infinity, reconcileIntervalMs);
      // Outside the turn: the room state must not wait for it.
      deletingStrays = reconciliation.deleteStrays(whole);
      // While the store was not complete nobody could decide, and what happened before this watch rang no bell.
      const due = wasComplete ? [...touched] : await this.settings.names();
      await Promise.all(due.map((scheduler) => this.wakeUps.ring('health', scheduler)));
    };
    const inTurn = oneAfterTheOther();
    const periodic = repeatUntilAborted(
      { name: 'runtime_reconcile', intervalMs: this.options.syncCheckIntervalMs, metrics, logger },
      whole,
      () =>
        inTurn(async () => {
          if (!isOpen) return;
          const synced = await this.rooms.isSynced();
          if (synced) await this.unplaced.replaceOverdue(Date.now(), whole);
          if (synced && !changesMissed && Date.now() < dueAt) return;
          if (!synced) this.reportRebuilding();
          const retried = changesMissed;
          changesMissed = false;
          try {
            // Changes arrive beside this list, and may be newer: only the list that opens a watch is the whole truth.
            const askedAtMs = performance.now();
            await reconcile(await this.runtime.listInstances(), { authoritative: false, askedAtMs });
          } catch (error) {
            changesMissed ||= retried;
            throw error;
          }
        }),
    );
    try {
      await this.runtime.watchInstances(
        {
          onList: (instances) =>
            inTurn(async () => {
              const askedAtMs = performance.now();
              if (!(await this.rooms.isSynced())) this.reportRebuilding();
              await reconcile(instances, { authoritative: true, askedAtMs });
              isOpen = true;
            }),
          onChange: async (change) => {
            if (!(await this.processChange(change, whole))) changesMissed = true;
          },
        },
        whole,
      );
    } finally {
      ended.abort();
      await periodic;
      await deletingStrays;
    }
  }

  /**
   * In batches, each of which is about one round trip; stops when the lease is lost, because another watcher writes then. Answers
   * the keys of those that are known to be over.
   */
  private async applyList(
    instances: RuntimeInstance[],
    authoritative: boolean,
    signal: AbortSignal,
  ): Promise<Set<string>> {
    const ended = new Set<string>();
    for (let start = 0; start < instances.length; start += listBatchSize) {
      signal.throwIfAborted();
      const batch = instances.slice(start, start + listBatchSize);
      await Promise.all(
        batch.map(async (instance) => {
          const { outcome } = await this.apply(instance, { isListed: true, authoritative });
          if (outcome === 'ended') ended.add(instanceKey(instance));
        }),
      );
    }
    return ended;
  }

  /** A new store is empty once; one that this process had filled before was lost. */
  private reportRebuilding(): void {
    if (this.wasSynced) this.logger.error({}, 'room state was lost; it is rebuilt from the runtime and the next pings');
    else this.logger.info({}, 'room state is built from the runtime');
  }

  /** Whether the change was stored; with retries. One that was not is left to the next full comparison. */
  private async processChange(change: InstanceChange, signal: AbortSignal): Promise<boolean> {
    const { instance } = change;
    for (let attempt = 1; ; attempt++) {
      try {
        const type = await this.store(change);
        await this.count(change, type, true);
        return true;
      } catch (error) {
        await this.count(change, change.type === 'gone' ? 'deleted' : 'updated', false);
        this.logger.warn(
          { scheduler_name: instance.scheduler, room_id: instance.id, attempt, err: messageOf(error) },
          'a change of an instance could not be stored',
        );
        if (attempt === changeAttempts || signal.aborted) return false;
        await pause(100 * 2 ** attempt, signal);
      }
    }
  }

  private async count(
    { instance }: InstanceChange,
    type: 'added' | 'updated' | 'deleted',
    success: boolean,
  ): Promise<void> {
    // A name that no scheduler has must not become a label.
    const known = await this.settings.find(instance.scheduler).catch(() => null);
    this.metrics.instanceChangeProcessed(known === null ? '' : instance.scheduler, type, success);
  }

  private async store(change: InstanceChange): Promise<'added' | 'updated' | 'deleted'> {
    const { instance } = change;
    if (change.type === 'present') {
      const outcome = await this.apply(instance, { isListed: false, authoritative: false });
      // Nobody else holds the ports of an instance that came up after its room had ended: they are in use until it is gone.
      const isLeft = outcome.outcome === 'ended' && instance.status !== 'terminating';
      if (outcome.outcome !== 'adopted' && !isLeft) return 'updated';
      const { scheduler, id, hostPorts: ports } = instance;
      await this.hostPorts.hold([{ scheduler, id, pool: await this.poolOf(scheduler), ports }]);
      return isLeft ? 'updated' : 'added';
    }
    const because = this.unplaced.reasonOf(instance) ?? instance.description;
    const unasked = await this.wordsIfUnasked(instance);
    const [{ existed, reason, isUnasked }] = await Promise.all([
      this.rooms.endRoom(instance.scheduler, instance.id, because, unasked, {
        mayComeBack: instance.ending === 'disowned',
      }),
      this.leavePorts(instance),
    ]);
    if (existed) await this.tellOfEnd(instance, reason, isUnasked);
    this.failures.forget(instance);
    this.unplaced.forget(instance);
    // Also when there was no record: an earlier try may have removed it, and its answer been lost.
    if (instance.validation) await this.wakeUps.ring('operations', instance.scheduler);
    else this.healthRings.roomLeft(instance.scheduler);
    if (!instance.validation && instance.status === 'terminating') await this.announceIfLast(instance.scheduler);
    return 'deleted';
  }

  private async tellOfEnd(instance: RuntimeInstance, reason: string, isUnasked: boolean): Promise<void> {
    const { scheduler, id } = instance;
    if ((await this.settings.find(scheduler)) !== null) {
      // One that ends without having failed before says so only here.
      this.failures.note(instance, { isNews: true });
      if (isUnasked) this.failures.noteUnaskedEnd(instance, reason);
    }
    const ids = { scheduler_name: scheduler, room_id: id };
    if (instance.ending === 'disowned') {
      this.logger.warn(
        { ...ids, reason },
        'the instance of a room is not marked as ours any more: its record is gone, and what may still run there is left alone',
      );
    } else if (isUnasked) this.logger.warn({ ...ids, reason }, 'the instance of a room was ended by someone else');
    else this.logger.info({ ...ids, reason }, 'a room ended');
  }

  /** What runs on, though it is not ours any more, uses its ports still: until its time is over they are given last. */
  private leavePorts(instance: RuntimeInstance): Promise<void> {
    return instance.ending === 'disowned' ? this.hostPorts.refuse(instance) : this.hostPorts.release([instance]);
  }

  /** What is said of an instance that somebody ends, unless it was us; empty where it is known that we did, or that nobody does. */
  private async wordsIfUnasked({ scheduler, ending, status, description }: RuntimeInstance): Promise<string> {
    if (ending === undefined || status !== 'terminating') return '';
    // A deleted scheduler takes its instances along: no room of it is asked by itself.
    return (await this.deletions.isUnderWay(scheduler)) ? '' : wordsOfUnaskedEnd(description);
  }

  /** A deletion waits for the end of them all: one look after the last is what it needs, not one after each of thousands. */
  private async announceIfLast(scheduler: string): Promise<void> {
    const { rooms } = await this.rooms.countFleet(scheduler);
    if (Object.values(rooms).every((count) => count === 0)) await this.wakeUps.ring('operations', scheduler);
  }

  private async apply(
    instance: RuntimeInstance,
    { isListed, authoritative }: { isListed: boolean; authoritative: boolean },
  ): Promise<InstanceOutcome> {
    const settings = await this.settings.find(instance.scheduler);
    const outcome = await this.rooms.applyInstance(
      instance,
      { maxMatches: settings?.maxMatches ?? 1 },
      // What belongs to no scheduler of ours is the comparison's to judge, with a second look.
      { adopt: settings !== null, authoritative, unasked: await this.wordsIfUnasked(instance) },
    );
    if (outcome.outcome === 'adopted') {
      this.metrics.driftRepaired('instance_adopted', 1);
      this.logger.info({ scheduler_name: instance.scheduler, room_id: instance.id }, 'a running room was adopted');
    }
    const isApplied = outcome.outcome === 'applied';
    if (settings !== null && (isApplied || outcome.outcome === 'adopted')) {
      const hasRestarted = isApplied && outcome.hasRestarted === true;
      const wasKnown = isListed && isApplied && outcome.from === outcome.to && !hasRestarted;
      this.failures.note(instance, { isNews: !wasKnown });
      this.unplaced.note(instance, Date.now());
      if (hasRestarted) this.tellOfRestart(instance);
    }
    if (isApplied && outcome.from !== outcome.to) await this.announce(instance, outcome.to);
    return outcome;
  }

  private tellOfRestart({ scheduler, id, restarts }: Instance): void {
    const lastEnd = restarts?.lastEnd ?? null;
    const reason = lastEnd === null ? '' : printContainerEnd(lastEnd);
    this.logger.warn(
      { scheduler_name: scheduler, room_id: id, restarts: restarts?.count, reason },
      'a container of a room ended and was started again',
    );
  }

  /** Of the active version: which placement an older room had is not known any more. Rooms of unknown schedulers go soon. */
  private async poolOf(scheduler: string): Promise<string> {
    const settings = await this.settings.find(scheduler);
    return settings === null ? '' : this.runtime.poolOf(settings.placement);
  }

  private async announce({ scheduler, id, validation, description }: Instance, to: RoomStatus): Promise<void> {
    // Its operation waits for it, and writes down what became of it.
    if (validation) return this.wakeUps.ring('operations', scheduler);
    if (to === 'error') {
      this.logger.warn(
        { scheduler_name: scheduler, room_id: id, reason: description },
        'the instance of a room failed',
      );
    }
    if (to === 'error' || to === 'terminating' || to === 'terminated') this.healthRings.roomLeft(scheduler);
    else this.healthRings.useChanged(scheduler);
  }
}

/** Runs what it is given one after the other, whoever asks. */
function oneAfterTheOther(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const next = last.then(work, work);
    last = next.catch(() => undefined);
    return next;
  };
}
