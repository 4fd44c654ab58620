import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DomainError, messageOf } from '../../domain/errors';
import type { RemovalReason } from '../../domain/operation/operation';
import type { InstanceChange, InstanceContainer, InstanceSpec, RuntimeInstance } from '../../ports/runtime';
import { canBind } from './host-ports';
import type { MarkedProcess, ProcessTable } from './process-table';
import {
  composeRoomEnvironment,
  expandReferences,
  instanceVariable,
  requireSafeName,
  validateInstanceSpec,
} from './room-environment';
import { instanceOf, RoomRecords, type ContainerRecord, type RoomRecord, type SchedulerPlace } from './room-records';
import { pruneLogs, rotateByCopy } from './rotated-file';
import type { StatePaths } from './state-paths';
import type { SupervisorLog } from './supervisor-log';
import type { RoomSurroundings } from './supervisor-protocol';

export interface SupervisorLimits {
  /** A room's log is rotated when it grows beyond this. */
  logMaxBytes: number;
  /** Files per room, the current one included. */
  logFiles: number;
  /** Rooms that have ended whose logs are kept. */
  endedLogsKept: number;
  /** How often processes are looked at that are not the supervisor's children. */
  adoptedPollMs: number;
}

interface SupervisedRoom {
  record: RoomRecord;
  /** Our own children by container; a container that is not in here was adopted. */
  children: Map<string, ChildProcess>;
  /** Set once its processes are being ended by us. */
  killTimer: NodeJS.Timeout | null;
}

/** Kubernetes' default, which v10 gets by leaving a grace below one second out. */
const defaultGraceMs = 30_000;
const longestTimerMs = 2 ** 31 - 1;
/** How long `stop` waits for processes after their SIGKILL, which nothing but the kernel can delay. */
const killedWaitMs = 10_000;
/** Leftovers of rooms that end together are looked for once. */
const sweepDelayMs = 250;

/**
 * Parents the rooms of one state directory. Knows nothing of sockets: `SupervisorServer` carries its calls and changes.
 *
 * What it decides is written down before it acts, so that after a SIGKILL at any point the next supervisor either goes on
 * where this one stood or finds that nothing was begun.
 */
export class Supervisor {
  /** Told each change, in order. */
  onChange: (change: InstanceChange) => void = () => undefined;

  private readonly records: RoomRecords;
  private readonly rooms = new Map<string, SupervisedRoom>();
  private readonly places = new Map<string, SchedulerPlace>();
  /** Ids and host ports of creations that are still being checked. */
  private readonly reservedIds = new Set<string>();
  private readonly reservedPorts = new Set<string>();
  private readonly endedRooms = new Set<string>();
  private sweepTimer: NodeJS.Timeout | null = null;
  private adoptedTimer: NodeJS.Timeout | null = null;
  private stopped: Promise<void> | null = null;
  private onceEmpty: (() => void)[] = [];

  constructor(
    private readonly paths: StatePaths,
    private readonly limits: SupervisorLimits,
    private readonly table: ProcessTable,
    private readonly log: SupervisorLog,
  ) {
    this.records = new RoomRecords(paths.roomsDir);
  }

  get roomCount(): number {
    return this.rooms.size + this.reservedIds.size;
  }

  /** Takes over what the supervisor before left running. Call once, before anything else. */
  async recover(): Promise<void> {
    const { places, rooms, unreadable } = this.records.load();
    for (const path of unreadable) this.log.error({ path }, 'record is unreadable and was left alone');
    for (const place of places) this.places.set(place.name, place);

    const marked = (await this.table.findMarked(this.paths.marker)).filter((process) => process.leader);
    const known = new Map(rooms.map((record) => [record.id, record]));
    for (const record of recordsFromProcesses(marked)) {
      if (known.has(record.id)) continue;
      this.log.warn({ room_id: record.id }, 'room runs without a record and was adopted from the process table');
      known.set(record.id, record);
      if (!this.places.has(record.scheduler)) {
        const place = { name: record.scheduler, owner: '', deleting: false };
        this.places.set(place.name, place);
        this.records.savePlace(place);
      }
    }

    const pids = [...known.values()].flatMap((record) => record.containers.flatMap((c) => (c.pid ? [c.pid] : [])));
    const living = await this.table.identify(pids);
    for (const record of known.values()) this.adopt(record, living, marked);
    for (const place of [...this.places.values()]) this.removePlaceIfDone(place);
    this.prune();
  }

  createScheduler(name: string, owner: string): 'created' | 'already_ours' {
    requireSafeName('scheduler name', name);
    const place = this.places.get(name);
    if (place && !place.deleting && place.owner === owner) return 'already_ours';
    if (place) {
      throw new DomainError(
        'already_exists',
        'runtime.scheduler_exists',
        place.deleting
          ? `The place of scheduler "${name}" is being deleted: try again when its rooms are gone`
          : `The place of scheduler "${name}" exists and belongs to someone else`,
      );
    }
    const made = { name, owner, deleting: false };
    this.records.savePlace(made);
    this.places.set(name, made);
    return 'created';
  }

  ensureScheduler(name: string, owner: string): 'created' | 'there' {
    const place = this.places.get(name);
    if (place?.deleting) {
      throw new DomainError(
        'unavailable',
        'runtime.scheduler_being_deleted',
        `The place of scheduler "${name}" is being deleted: it can be made again when its rooms are gone`,
      );
    }
    if (place) return 'there';
    this.createScheduler(name, owner);
    return 'created';
  }

  deleteScheduler(name: string, owner?: string): 'deleting' | 'not_found' {
    const place = this.places.get(name);
    if (!place || (owner !== undefined && place.owner !== owner)) return 'not_found';
    if (!place.deleting) {
      place.deleting = true;
      this.records.savePlace(place);
    }
    for (const room of this.roomsOf(name)) this.askToEnd(room, 'scheduler_deleted');
    this.removePlaceIfDone(place);
    return 'deleting';
  }

  async createInstance(spec: InstanceSpec, surroundings: RoomSurroundings): Promise<RuntimeInstance> {
    validateInstanceSpec(spec);
    if (this.stopped) {
      throw new DomainError(
        'unavailable',
        'runtime.stopping',
        'The local runtime is ending all rooms: try again later',
      );
    }
    this.requirePlace(spec.scheduler);
    if (this.rooms.has(spec.id) || this.reservedIds.has(spec.id)) {
      throw new DomainError('already_exists', 'runtime.instance_exists', `Room "${spec.id}" exists`);
    }
    const ports = spec.containers.flatMap((container) => container.ports).filter((port) => port.hostPort !== 0);
    const keys = ports.map((port) => portKey(port.protocol, port.hostPort));
    this.refuseTakenPorts(spec.id, ports, (port, index) => {
      const key = keys[index] ?? '';
      return (
        keys.indexOf(key) !== index || this.reservedPorts.has(key) || this.isPortHeld(port.protocol, port.hostPort)
      );
    });

    this.reservedIds.add(spec.id);
    for (const key of keys) this.reservedPorts.add(key);
    try {
      const free = await Promise.all(ports.map((port) => canBind(port.protocol, port.hostPort)));
      this.refuseTakenPorts(spec.id, ports, (_port, index) => free[index] === false);
      // The world moved on while the ports were tried.
      this.requirePlace(spec.scheduler);
      if (this.stopped)
        throw new DomainError('unavailable', 'runtime.stopping', 'The local runtime is ending all rooms');

      const room = supervised(newRecord(spec, surroundings));
      this.records.save(room.record);
      this.rooms.set(spec.id, room);
      this.onChange({ type: 'present', instance: instanceOf(room.record) });
      setImmediate(() => void this.start(room, spec, surroundings));
      return instanceOf(room.record);
    } finally {
      this.reservedIds.delete(spec.id);
      for (const key of keys) this.reservedPorts.delete(key);
    }
  }

  deleteInstance(scheduler: string, id: string, reason: RemovalReason): 'deleting' | 'not_found' {
    const room = this.rooms.get(id);
    if (room?.record.scheduler !== scheduler) return 'not_found';
    this.askToEnd(room, reason);
    return 'deleting';
  }

  listInstances(scheduler?: string): RuntimeInstance[] {
    const rooms = scheduler === undefined ? [...this.rooms.values()] : this.roomsOf(scheduler);
    return rooms.map((room) => instanceOf(room.record));
  }

  /** Begins to end every room with its grace; no room can be made from then on. Says when at the latest it is over. */
  stop(): { withinMs: number } {
    const graces = [...this.rooms.values()].map((room) => room.record.graceMs);
    const withinMs = Math.min(Math.max(0, ...graces) + 2 * killedWaitMs, longestTimerMs);
    this.stopped ??= this.stopAll(withinMs - killedWaitMs);
    this.stopped.catch(() => (this.stopped = null));
    return { withinMs };
  }

  /**
   * Resolves when, after `stop`, no process with our marker is left.
   * @throws DomainError `runtime.rooms_do_not_end` (unavailable) when the kernel does not let go of a killed process.
   */
  awaitStopped(): Promise<void> {
    return this.stopped ?? Promise.resolve();
  }

  /** Keeps the logs of running rooms within their bounds. Cheap enough for once a second. */
  tidyLogs(): void {
    for (const { record } of this.rooms.values()) {
      try {
        rotateByCopy(this.logPath(record.id), this.limits.logMaxBytes, this.limits.logFiles);
      } catch (error) {
        this.log.warn({ room_id: record.id, error: messageOf(error) }, 'log of a room could not be rotated');
      }
    }
  }

  // --- starting -------------------------------------------------------------------------------------------------------

  private async start(room: SupervisedRoom, spec: InstanceSpec, surroundings: RoomSurroundings): Promise<void> {
    const { record } = room;
    // A deletion overtook the start.
    if (record.endingSinceMs !== null || record.deletionAsked) return this.finish(room);
    try {
      await this.spawnAll(room, spec, surroundings);
      record.started = true;
    } catch (error) {
      record.problem = messageOf(error);
      this.log.warn({ room_id: record.id, problem: record.problem }, 'room could not be started');
    }
    if (this.rooms.get(record.id) !== room) return;
    this.publish(room);
    const failed = record.containers.find((container) => container.ended !== null);
    if (record.problem !== '' || failed || record.endingSinceMs !== null) await this.endRunning(room);
  }

  private async spawnAll(room: SupervisedRoom, spec: InstanceSpec, surroundings: RoomSurroundings): Promise<void> {
    const environments = spec.containers.map((container) =>
      composeRoomEnvironment({
        spec,
        container,
        surroundings,
        hostname: hostname(),
        marker: this.paths.marker,
        instanceText: JSON.stringify({ container: container.name, record: room.record } satisfies InstanceText),
        readSecret: (name, key) => readSecret(join(this.paths.secretsDir, name, key)),
      }),
    );
    const output = openSync(this.logPath(spec.id), 'a', 0o600);
    try {
      for (const [index, container] of spec.containers.entries()) {
        const record = room.record.containers[index];
        const environment = environments[index];
        if (!record || !environment) continue;
        await this.spawnOne(room, record, container, environment, surroundings.workingDirectory, output);
      }
    } finally {
      closeSync(output);
    }
  }

  /** Output goes straight to the file, not through us: a pipe would break when the supervisor is killed. */
  private async spawnOne(
    room: SupervisedRoom,
    container: ContainerRecord,
    { name, command }: InstanceContainer,
    environment: Record<string, string>,
    workingDirectory: string,
    output: number,
  ): Promise<void> {
    const [program = '', ...rest] = command.map((part) => expandReferences(part, environment));
    const failed = (error: unknown) =>
      // Node says ENOENT of the program also when it is the working directory that is missing.
      new Error(`CreateContainerError: container "${name}" in ${workingDirectory}: ${messageOf(error)}`);
    let child: ChildProcess;
    try {
      child = spawn(program, rest, {
        cwd: workingDirectory,
        env: environment,
        // A session and group of its own: Ctrl-C does not reach it, and its children can be ended with it.
        detached: true,
        stdio: ['ignore', output, output],
        windowsHide: true,
      });
    } catch (error) {
      throw failed(error);
    }
    const firstError = new Promise<Error>((resolve) => child.once('error', resolve));
    if (child.pid === undefined) throw failed(await firstError);
    container.pid = child.pid;
    room.children.set(name, child);
    child.on('error', (error) =>
      this.log.warn({ room_id: room.record.id, error: error.message }, 'process reports an error'),
    );
    child.once('exit', (code, signal) => {
      signalGroup(container.pid, 'SIGKILL');
      this.containerEnded(room, container, signal ? `killed by ${signal}` : `exited with code ${code}`);
    });
    container.identity = (await this.table.identify([child.pid])).get(child.pid) ?? '';
    this.save(room);
  }

  // --- ending ---------------------------------------------------------------------------------------------------------

  private askToEnd(room: SupervisedRoom, reason: string): void {
    const { record } = room;
    if (record.deletionAsked) return;
    record.deletionAsked = true;
    record.deletionReason = reason;
    this.log.info({ room_id: record.id, reason, grace_ms: record.graceMs }, 'room is to end');
    const alreadyEnding = record.endingSinceMs !== null;
    record.endingSinceMs ??= Date.now();
    this.publish(room);
    if (!alreadyEnding || runningIn(record).length === 0) void this.endRunning(room);
  }

  /** SIGTERM to what runs, SIGKILL after the grace that is left. Safe to call again after a restart. */
  private async endRunning(room: SupervisedRoom): Promise<void> {
    const { record } = room;
    record.endingSinceMs ??= Date.now();
    // The start is about to see that the room is ending.
    if (!record.started && record.problem === '') return;
    if (runningIn(record).length === 0) return this.finish(room);
    if (room.killTimer) return;
    const left = record.endingSinceMs + record.graceMs - Date.now();
    room.killTimer = setTimeout(
      () => {
        for (const container of runningIn(record)) void this.signal(room, container, 'SIGKILL');
      },
      Math.min(Math.max(left, 0), longestTimerMs),
    );
    if (!record.endingSignalled) {
      for (const container of runningIn(record)) await this.signal(room, container, 'SIGTERM');
      record.endingSignalled = true;
    }
    this.save(room);
  }

  private async signal(room: SupervisedRoom, container: ContainerRecord, signal: NodeJS.Signals): Promise<void> {
    if (container.pid === null || container.ended !== null) return;
    // The number of a child that was not reaped yet cannot be used again; that of an adopted process can.
    if (!room.children.has(container.name)) {
      const living = await this.table.identify([container.pid]);
      if (living.get(container.pid) !== container.identity) return;
    }
    signalGroup(container.pid, signal);
  }

  private containerEnded(room: SupervisedRoom, container: ContainerRecord, how: string): void {
    const { record } = room;
    if (container.ended !== null) return;
    container.ended = how;
    if (record.endingBecause === '' && !record.deletionAsked) {
      record.endingBecause = record.containers.length === 1 ? how : `container "${container.name}" ${how}`;
    }
    this.log.info({ room_id: record.id, container: container.name, how }, 'process ended');
    // While the rest is being spawned, `start` looks at what has ended already.
    if (!record.started && record.problem === '') return;
    if (runningIn(record).length === 0) return this.finish(room);
    if (record.endingSinceMs !== null) return;
    record.endingSinceMs = Date.now();
    this.publish(room);
    void this.endRunning(room);
  }

  /** All processes have ended. What could not start stays to be seen, until somebody deletes it. */
  private finish(room: SupervisedRoom): void {
    const { record } = room;
    if (this.rooms.get(record.id) !== room) return;
    if (room.killTimer) clearTimeout(room.killTimer);
    room.killTimer = null;
    if (record.problem !== '' && !record.deletionAsked) return this.save(room);
    this.records.remove(record);
    this.rooms.delete(record.id);
    record.generation++;
    this.onChange({ type: 'gone', instance: lastSeen(record) });
    this.endedRooms.add(record.id);
    this.sweepTimer ??= setTimeout(() => void this.sweep(), sweepDelayMs);
    const place = this.places.get(record.scheduler);
    if (place) this.removePlaceIfDone(place);
    if (this.rooms.size === 0) for (const done of this.onceEmpty.splice(0)) done();
  }

  /** A process that left its room's group (a daemon of its own) does not outlive the room, as in a container. */
  private async sweep(): Promise<void> {
    this.sweepTimer = null;
    const ended = new Set(this.endedRooms);
    this.endedRooms.clear();
    try {
      for (const process of await this.table.findMarked(this.paths.marker)) {
        const id = process.environment['MAESTRO_ROOM_ID'] ?? '';
        if (ended.has(id) && !this.rooms.has(id)) killOne(process.pid);
      }
      this.prune();
    } catch (error) {
      this.log.warn({ error: messageOf(error) }, 'leftovers of ended rooms could not be removed');
    }
  }

  private async stopAll(patienceMs: number): Promise<void> {
    const empty = new Promise<void>((resolve) => {
      if (this.rooms.size === 0) resolve();
      else this.onceEmpty.push(resolve);
    });
    for (const room of [...this.rooms.values()]) this.askToEnd(room, 'runtime_stopped');
    const givenUp = new AbortController();
    await Promise.race([empty, sleep(patienceMs, null, { signal: givenUp.signal }).catch(() => null)]);
    givenUp.abort();
    for (const started = Date.now(); ;) {
      const left = await this.table.findMarked(this.paths.marker);
      if (left.length === 0 && this.rooms.size === 0) return;
      if (Date.now() - started > killedWaitMs) {
        const rooms = [...this.rooms.keys()].join(', ') || 'none';
        const pids = left.map((process) => process.pid).join(', ') || 'none';
        const message = `Not all ended although they were killed. Rooms: ${rooms}; processes: ${pids}`;
        throw new DomainError('unavailable', 'runtime.rooms_do_not_end', message);
      }
      for (const process of left) killOne(process.pid);
      await sleep(20);
    }
  }

  // --- adopting -------------------------------------------------------------------------------------------------------

  private adopt(record: RoomRecord, living: ReadonlyMap<number, string>, marked: readonly MarkedProcess[]): void {
    const room = supervised(record);
    this.rooms.set(record.id, room);
    for (const container of record.containers) {
      if (container.ended !== null) continue;
      if (container.pid !== null && container.identity !== '' && living.get(container.pid) === container.identity)
        continue;
      const found = marked.find(
        ({ environment }) =>
          environment['MAESTRO_ROOM_ID'] === record.id &&
          parseInstanceText(environment[instanceVariable])?.container === container.name,
      );
      if (found) {
        container.pid = found.pid;
        container.identity = found.identity;
      } else {
        container.ended = 'ended while no supervisor watched it';
      }
    }
    if (record.problem === '' && runningIn(record).length === 0) {
      this.log.info({ room_id: record.id }, 'room ended while there was no supervisor');
      record.endingBecause ||= 'ended while no supervisor watched it';
      return this.finish(room);
    }
    if (record.problem === '') record.started = true;
    this.log.info(
      { room_id: record.id, pids: runningIn(record).map((container) => container.pid) },
      'room was adopted',
    );
    const ended = record.containers.find((container) => container.ended !== null);
    if (ended && record.problem === '' && record.endingSinceMs === null) {
      record.endingSinceMs = Date.now();
      record.endingBecause ||= `container "${ended.name}" ${ended.ended}`;
    }
    record.generation++;
    this.save(room);
    if (this.places.get(record.scheduler)?.deleting) this.askToEnd(room, 'scheduler_deleted');
    if (record.endingSinceMs !== null || record.problem !== '') void this.endRunning(room);
    if (runningIn(record).length > 0) this.watchAdopted();
  }

  /** Processes that are not our children tell nobody that they end, so they are looked at. */
  private watchAdopted(count = 1): void {
    // A look costs about 35 µs a process: many are looked at less often, and still within a second.
    const delayMs = Math.min(
      this.limits.adoptedPollMs * Math.ceil(count / 100),
      Math.max(900, this.limits.adoptedPollMs),
    );
    this.adoptedTimer ??= setTimeout(() => {
      this.adoptedTimer = null;
      this.lookAtAdopted().catch((error: unknown) =>
        this.log.error({ error: messageOf(error) }, 'adopted rooms could not be looked at'),
      );
    }, delayMs);
  }

  private async lookAtAdopted(): Promise<void> {
    const adopted = [...this.rooms.values()].flatMap((room) =>
      runningIn(room.record)
        .filter((container) => !room.children.has(container.name) && container.identity !== '')
        .map((container) => ({ room, container })),
    );
    if (adopted.length === 0) return;
    this.watchAdopted(adopted.length);
    const living = await this.table.identify(adopted.flatMap(({ container }) => container.pid ?? []));
    for (const { room, container } of adopted) {
      if (living.get(container.pid ?? 0) === container.identity) continue;
      this.containerEnded(room, container, 'ended (its exit code went to a supervisor that is no more)');
    }
  }

  // --- small parts ----------------------------------------------------------------------------------------------------

  private roomsOf(scheduler: string): SupervisedRoom[] {
    return [...this.rooms.values()].filter((room) => room.record.scheduler === scheduler);
  }

  private requirePlace(scheduler: string): void {
    const place = this.places.get(scheduler);
    if (place && !place.deleting) return;
    throw new DomainError(
      'not_found',
      'runtime.scheduler_not_found',
      `Scheduler "${scheduler}" has no place in the local runtime${place ? ': it is being deleted' : ''}`,
    );
  }

  private refuseTakenPorts<P extends { hostPort: number }>(
    id: string,
    ports: readonly P[],
    isTaken: (port: P, index: number) => boolean,
  ): void {
    const taken = ports.filter(isTaken).map((port) => port.hostPort);
    if (taken.length === 0) return;
    throw new DomainError(
      'resource_exhausted',
      'runtime.host_port_taken',
      `Room "${id}" cannot have host port ${taken.join(', ')}: in use on this machine`,
      { details: { ports: taken } },
    );
  }

  private isPortHeld(protocol: string, port: number): boolean {
    const key = portKey(protocol, port);
    return [...this.rooms.values()].some(({ record }) => record.ports.some((p) => portKey(p.protocol, p.port) === key));
  }

  /** A full disk must not keep a running room from being seen and ended: it costs what a restart would know of it. */
  private save(room: SupervisedRoom): void {
    if (this.rooms.get(room.record.id) !== room) return;
    try {
      this.records.save(room.record);
    } catch (error) {
      this.log.error({ room_id: room.record.id, error: messageOf(error) }, 'record of a room could not be written');
    }
  }

  /** Saved before it is told: nobody hears of a state that a restart would take back. */
  private publish(room: SupervisedRoom): void {
    room.record.generation++;
    this.save(room);
    this.onChange({ type: 'present', instance: instanceOf(room.record) });
  }

  private removePlaceIfDone(place: SchedulerPlace): void {
    if (!place.deleting || this.roomsOf(place.name).length > 0) return;
    this.records.removePlace(place.name);
    this.places.delete(place.name);
  }

  private prune(): void {
    pruneLogs(this.paths.logsDir, new Set(this.rooms.keys()), this.limits.endedLogsKept);
  }

  private logPath(id: string): string {
    return join(this.paths.logsDir, `${id}.log`);
  }
}

function supervised(record: RoomRecord): SupervisedRoom {
  return { record, children: new Map(), killTimer: null };
}

function newRecord(spec: InstanceSpec, surroundings: RoomSurroundings): RoomRecord {
  return {
    id: spec.id,
    scheduler: spec.scheduler,
    version: spec.version,
    validation: spec.validation,
    operationId: spec.operationId,
    createdAtMs: Date.now(),
    generation: 1,
    graceMs: spec.terminationGracePeriodMs > 0 ? spec.terminationGracePeriodMs : defaultGraceMs,
    host: surroundings.host,
    ports: spec.containers
      .flatMap((container) => container.ports)
      .filter((port) => port.hostPort !== 0)
      .map((port) => ({ name: port.name, protocol: port.protocol.toUpperCase(), port: port.hostPort })),
    containers: spec.containers.map(({ name }) => ({ name, pid: null, identity: '', ended: null })),
    started: false,
    problem: '',
    endingSinceMs: null,
    endingSignalled: false,
    endingBecause: '',
    deletionAsked: false,
    deletionReason: '',
  };
}

/** The text of `instanceVariable`. */
interface InstanceText {
  container: string;
  record: RoomRecord;
}

function parseInstanceText(text: string | undefined): InstanceText | null {
  try {
    return text === undefined ? null : (JSON.parse(text) as InstanceText);
  } catch {
    return null;
  }
}

/** What the rooms' first processes carry with them. */
function recordsFromProcesses(marked: readonly MarkedProcess[]): RoomRecord[] {
  return marked.flatMap(({ environment }) => parseInstanceText(environment[instanceVariable])?.record ?? []);
}

function runningIn(record: RoomRecord): ContainerRecord[] {
  return record.containers.filter((container) => container.pid !== null && container.ended === null);
}

/** What is told of a room that is gone: how it ended is its description. */
function lastSeen(record: RoomRecord): RuntimeInstance {
  const first = record.containers.find((container) => container.ended !== null);
  const description = record.problem || record.endingBecause || first?.ended || '';
  const bad = record.problem !== '' || !description.endsWith('exited with code 0');
  return { ...instanceOf(record), status: bad && !record.deletionAsked ? 'error' : 'terminating', description };
}

function portKey(protocol: string, port: number): string {
  return `${protocol.toUpperCase()}/${port}`;
}

function readSecret(path: string): string | null {
  try {
    // Written by hand more often than not: editors and `echo` end a file with a line end that is no part of the secret.
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch {
    return null;
  }
}

function signalGroup(pid: number | null, signal: NodeJS.Signals): void {
  if (pid === null) return;
  try {
    // Windows has no groups.
    process.kill(process.platform === 'win32' ? pid : -pid, signal);
  } catch {
    // Gone already.
  }
}

function killOne(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}
