import { Injectable } from '@nestjs/common';
import { DomainError, mayPassLater, messageOf } from '../../domain/errors';
import type { RemovalReason } from '../../domain/operation/operation';
import { asClause } from '../../domain/phrases';
import { wantedHostPorts } from '../../domain/room/choose-host-ports';
import type { PortRange, Scheduler } from '../../domain/scheduler/scheduler';
import { HostPortReservations } from '../../ports/host-port-reservations';
import { RoomStore } from '../../ports/room-store';
import { Runtime, type InstanceSpec } from '../../ports/runtime';

export class RoomLifecycleOptions {
  /** For schedulers that state no range of their own (v10: 60001-60010). */
  readonly fallbackPortRange!: PortRange;
}

export interface RoomToStart {
  scheduler: Scheduler;
  id: string;
  operationId: string;
  validation: boolean;
  /** Set when no instance can be made of it, and why: the runtime is not asked to, and the start fails of just that. */
  impossible?: { because: unknown };
}

export interface EndedRooms {
  removed: string[];
  /** Left alone: a match runs there, or was on its way. */
  spared: string[];
  failed: { id: string; error: unknown }[];
  /** The first of those failures that says that something is away, or refuses this process: trying again may help. */
  away: DomainError | null;
}

/** A machine whose ports are used by others too may refuse a drawn port; more refusals than this mean a full range. */
const portDraws = 20;
/** Instances that end at once are asked for side by side, this many at a time. */
const parallelDeletions = 20;

/**
 * Starts and ends single rooms: record first, host ports second, instance third, so that no instance is ever without a record
 * for long, and nothing holds a port that neither has the one nor the other.
 */
@Injectable()
export class RoomLifecycle {
  constructor(
    private readonly rooms: RoomStore,
    private readonly runtime: Runtime,
    private readonly hostPorts: HostPortReservations,
    private readonly options: RoomLifecycleOptions,
  ) {}

  /**
   * Starts a room, or finds that an earlier attempt of the same operation did. After a failure neither record, ports nor instance
   * is left, unless something is away, or refuses this process: then the same call, repeated, goes on from there. Who repeats it
   * later notes that (`notePutOff`), or the watcher takes the record for one that was left behind, and ends it.
   * `ended_before`: an earlier attempt recorded it, or somebody ended it while it was being started; it is over, and is not
   * started twice. Who it was: an operator or the rollback of another worker, or the watcher after nobody had tried for so long.
   * @throws what the runtime says, or `room.host_ports_exhausted`.
   */
  async startRoom(room: RoomToStart): Promise<'started' | 'ended_before'> {
    const { scheduler, id, validation } = room;
    const created = await this.rooms.createRoom({
      id,
      scheduler: scheduler.name,
      version: scheduler.version,
      validation,
    });
    if (created === 'exists') {
      const found = await this.rooms.getRoom(scheduler.name, id);
      if (found === null) return 'ended_before';
      // Ports that are drawn for it would be missing where its fleet fills the range, and it would be undone for lack of them.
      if (found.instance.status !== 'unknown') return 'started';
    }
    try {
      if (room.impossible !== undefined) throw room.impossible.because;
      const instance = await this.createInstance(room);
      if (instance === 'exists') return 'started';
      const { outcome } = await this.rooms.applyInstance(
        instance,
        { maxMatches: scheduler.definition.matchAllocation.maxMatches },
        { adopt: false, authoritative: false },
      );
      // Whoever ended the room meanwhile (a rollback by another worker) found no instance: this one has nobody else.
      if (outcome === 'ended') {
        await this.runtime.deleteInstance(scheduler.name, id, undoReason(room));
        return 'ended_before';
      }
      return 'started';
    } catch (error) {
      if (mayPassLater(error)) throw error;
      if (created === 'exists' && (await this.hasInstance(room))) return 'started';
      const wasAsked = created === 'exists' || room.impossible === undefined;
      await this.undoStart(room, error, wasAsked);
      throw error;
    }
  }

  /**
   * Their starts are put off and will be tried again: their records wait for that, and say why. Of those that were started, or not
   * recorded, nothing is noted. Does not fail: what cannot be noted now is noted by the next attempt.
   */
  async notePutOff(scheduler: string, ids: readonly string[], because: unknown): Promise<void> {
    await this.rooms.noteStartPutOff(scheduler, ids, messageOf(because)).catch(() => undefined);
  }

  /**
   * Ends rooms with their grace period; the watch sees them go. Rooms without instance lose their record at once. A room
   * with a match is spared, but for validation rooms, rooms that an operator named or that drained for too long, and those in
   * `silent`, which have said nothing since then and must go on saying nothing. Those in `late` did not come up in time, and why:
   * they count as rooms that ended early, unless they were up before.
   */
  async endRooms(
    scheduler: string,
    ids: string[],
    reason: RemovalReason,
    {
      silent,
      late = new Map(),
    }: { silent?: { ids: ReadonlySet<string>; sinceMs: number }; late?: ReadonlyMap<string, string> } = {},
  ): Promise<EndedRooms> {
    const ended: EndedRooms = { removed: [], spared: [], failed: [], away: null };
    const [given, others] = [ids.filter((id) => silent?.ids.has(id)), ids.filter((id) => !silent?.ids.has(id))];
    const byName = reason === 'deleted_by_name' || reason === 'drain_deadline';
    const marked = new Map<string, string>();
    // Almost always one call: what is said of rooms that are not late is nothing, and of the others mostly the same.
    for (const because of new Set(others.map((id) => late.get(id) ?? ''))) {
      const alike = others.filter((id) => (late.get(id) ?? '') === because);
      const options = { reason, byName, failedBecause: because };
      for (const [id, answer] of await this.rooms.terminateRooms(scheduler, alike, options)) marked.set(id, answer);
    }
    if (silent !== undefined && given.length > 0) {
      const options = { reason, silentSinceMs: silent.sinceMs };
      for (const [id, answer] of await this.rooms.terminateRooms(scheduler, given, options)) marked.set(id, answer);
    }
    const going = ids.filter((id) => marked.get(id) !== 'has_match');
    ended.spared = ids.filter((id) => marked.get(id) === 'has_match');
    for (let start = 0; start < going.length; start += parallelDeletions) {
      const asked: string[] = [];
      await Promise.all(
        going.slice(start, start + parallelDeletions).map(async (id) => {
          try {
            const answer = await this.runtime.deleteInstance(scheduler, id, reason);
            if (answer === 'not_found') {
              await Promise.all([this.rooms.endRoom(scheduler, id), this.hostPorts.release([{ scheduler, id }])]);
            } else {
              asked.push(id);
            }
            ended.removed.push(id);
          } catch (error) {
            ended.failed.push({ id, error });
            if (error instanceof DomainError && mayPassLater(error)) ended.away ??= error;
            // It was heard, and refused: asked at every look, it would be refused at every look.
            else asked.push(id);
          }
        }),
      );
      await this.rooms.noteEndAsked(scheduler, asked);
    }
    return ended;
  }

  private async createInstance(room: RoomToStart) {
    const refusedPorts = new Set<number>();
    for (let draw = 1; ; draw++) {
      const spec = await this.instanceSpec(room, refusedPorts);
      try {
        return await this.runtime.createInstance(spec);
      } catch (error) {
        if (!(error instanceof DomainError)) throw error;
        if (error.code === 'runtime.instance_exists') return 'exists' as const;
        if (error.code !== 'runtime.host_port_taken' || draw === portDraws) throw error;
        const refused = error.details['ports'];
        if (Array.isArray(refused)) for (const port of refused) refusedPorts.add(Number(port));
      }
    }
  }

  private async instanceSpec(room: RoomToStart, refusedPorts: ReadonlySet<number>): Promise<InstanceSpec> {
    const { scheduler, id, operationId, validation } = room;
    const { definition } = scheduler;
    const { spec } = definition;
    const hostPorts = await this.reserveHostPorts(room, refusedPorts);
    let next = 0;
    return {
      id,
      scheduler: scheduler.name,
      version: scheduler.version,
      validation,
      operationId,
      containers: spec.containers.map((container) => ({
        ...container,
        ports: container.ports.map(({ name, protocol, port }) => ({
          name,
          protocol,
          port,
          hostPort: hostPorts[next++] ?? 0,
        })),
      })),
      terminationGracePeriodMs: Math.ceil(spec.terminationGracePeriodNs / 1e6),
      labels: definition.labels,
      annotations: definition.annotations,
      toleration: spec.toleration,
      affinity: spec.affinity,
      restartPolicy: spec.restartPolicy,
    };
  }

  /** By container and port in their order; the same again for a room that has some, but for those that were refused. */
  private async reserveHostPorts({ scheduler, id }: RoomToStart, avoiding: ReadonlySet<number>): Promise<number[]> {
    const { portRange, spec } = scheduler.definition;
    const usesOwnRanges = spec.containers.some((container) => container.ports.some((port) => port.hostPortRange));
    const range = portRange ?? (usesOwnRanges ? undefined : this.options.fallbackPortRange);
    const wanted = wantedHostPorts(spec.containers, range);
    if (wanted.length === 0) return [];
    const hosts = await this.runtime.countHosts(spec);
    return this.hostPorts.reserve({ scheduler: scheduler.name, id }, wanted, {
      pool: this.runtime.poolOf(spec),
      hosts,
      avoiding,
    });
  }

  /** Whether an earlier attempt started it, though the store has not heard of that yet. */
  private async hasInstance({ scheduler, id }: RoomToStart): Promise<boolean> {
    return (await this.runtime.listInstances(scheduler.name)).some((instance) => instance.id === id);
  }

  /** The create call may have worked although its answer was lost: the instance goes too. The first error is the one told. */
  private async undoStart(room: RoomToStart, cause: unknown, wasAsked: boolean): Promise<void> {
    const { scheduler, id } = room;
    try {
      const answer = wasAsked
        ? await this.runtime.deleteInstance(scheduler.name, id, undoReason(room))
        : ('not_found' as const);
      await this.rooms.endRoom(scheduler.name, id, messageOf(cause));
      // What is there holds its ports until it is gone, and the watch hears of that.
      if (answer === 'not_found') await this.hostPorts.release([{ scheduler: scheduler.name, id }]);
    } catch (error) {
      throw new DomainError(
        cause instanceof DomainError ? cause.kind : 'internal',
        'room.start_failed',
        `${asClause(messageOf(cause))}; and what was begun could not be undone: ${messageOf(error)}`,
        { cause },
      );
    }
  }
}

function undoReason({ validation }: RoomToStart): RemovalReason {
  return validation ? 'new_version_validation_finished' : 'scale_down';
}
