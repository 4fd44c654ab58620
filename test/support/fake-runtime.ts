import { DomainError } from '../../src/domain/errors';
import type { RemovalReason } from '../../src/domain/operation/operation';
import { hostPoolOf } from '../../src/domain/room/host-pool';
import type { Instance, RoomPort } from '../../src/domain/room/room';
import {
  Runtime,
  type InstanceChange,
  type InstanceEnding,
  type InstanceSpec,
  type InstanceWatcher,
  type RuntimeInstance,
  type SchedulerRemoval,
} from '../../src/ports/runtime';

interface FakeInstance {
  instance: RuntimeInstance;
  spec: InstanceSpec;
  reason: RemovalReason | null;
}

interface Session {
  watcher: InstanceWatcher;
  chains: Map<string, Promise<void>>;
  /** Until the list was handled. */
  held: InstanceChange[] | null;
  /** Ends this session; the watch then begins anew with a list. */
  cut: () => void;
}

export interface FakeRuntimeOptions {
  /** New instances run as soon as they are made, without `markReady`. Default false. */
  readyAtOnce?: boolean;
  /** Deleted instances are gone as soon as their deletion was asked, without `end`. Default false. */
  endsAtOnce?: boolean;
  /** Machines that instances run on. Default 1. */
  hosts?: number | ((placement: Placement) => number);
  /** Default `Date.now`. */
  now?: () => number;
  /** Called with what a handler of a watch threw. Default: forgotten. */
  onHandlerError?: (error: unknown) => void;
}

type Placement = Pick<InstanceSpec, 'affinity' | 'toleration'>;

/** The world that fakes share, as clients of one cluster do. */
class FakeWorld {
  readonly places = new Map<string, { owner: string; deleting: boolean; isShared: boolean }>();
  /** Places that are not ours, by name. */
  readonly foreignPlaces = new Set<string>();
  readonly instances = new Map<string, FakeInstance>();
  readonly takenPorts = new Set<string>();
  readonly budgets = new Map<string, number>();
  readonly sessions = new Set<Session>();
  readonly failures: { method: string; error: DomainError }[] = [];
  isReachable = true;
}

/**
 * A runtime in memory whose instances do what a test says, at once: `markReady`, `kill`, `end`. It keeps the promises of the
 * port (`test/contract/runtime.contract.ts`). `calls` lists what was asked of it.
 */
export class FakeRuntime extends Runtime {
  readonly kind = 'fake';
  readonly placeWord = 'place';
  readonly movesInstances = true;
  /** `value`: what was told of a protection or a budget. */
  readonly calls: { method: string; id: string; reason?: RemovalReason; value?: boolean | number }[] = [];
  /** This client, unlike others of the same instances, reaches nothing. */
  isCutOff = false;
  private readonly closing = new AbortController();

  constructor(
    private readonly options: FakeRuntimeOptions = {},
    private readonly world = new FakeWorld(),
  ) {
    super();
  }

  /** Another client of the same instances. */
  anotherClient(): FakeRuntime {
    return new FakeRuntime(this.options, this.world);
  }

  // --- what a test makes happen ---------------------------------------------------------------------------------------

  /** The instance runs from now on, with its address. */
  markReady(id: string): void {
    const { instance, spec } = this.existing(id);
    if (instance.status === 'terminating') return;
    this.update(id, {
      status: 'ready',
      address: {
        host: '127.0.0.1',
        ports: roomPortsOf(spec),
      },
    });
  }

  /** The runtime says something else of the instance, e.g. `{ status: 'error', description: 'CrashLoopBackOff: …' }`. */
  report(
    id: string,
    news: Partial<
      Pick<RuntimeInstance, 'status' | 'description' | 'address' | 'placementProblem' | 'ending' | 'restarts'>
    >,
  ): void {
    this.existing(id);
    this.update(id, news);
  }

  /** The instance ends by itself, as a crash does. */
  kill(id: string, description = 'killed by SIGKILL'): void {
    const { instance } = this.existing(id);
    this.remove(id, { ...instance, status: instance.status === 'terminating' ? 'terminating' : 'error', description });
  }

  /** Somebody ends it, or takes it away, all at once. */
  vanish(id: string, ending: InstanceEnding, description = ''): void {
    this.remove(id, { ...this.existing(id).instance, status: 'terminating', ending, description });
  }

  /** A deletion that was asked comes to its end. */
  end(id: string): void {
    this.remove(id, this.existing(id).instance);
  }

  /** An instance that nobody asked for, as one left over by a Maestro that lost its databases. */
  plant(known: Instance & Partial<RuntimeInstance>, spec: Partial<InstanceSpec> = {}): void {
    const instance = { hostPorts: known.address?.ports ?? [], placementProblem: null, isProtected: false, ...known };
    this.world.instances.set(instance.id, {
      instance,
      spec: { ...emptySpec, id: instance.id, scheduler: instance.scheduler, version: instance.version, ...spec },
      reason: null,
    });
    this.tell({ type: 'present', instance });
  }

  /** Somebody removes the place of a scheduler with all that is in it. */
  losePlace(name: string): void {
    for (const { instance } of [...this.world.instances.values()]) {
      if (instance.scheduler === name) this.kill(instance.id, 'its place is gone');
    }
    this.world.places.delete(name);
  }

  /** Others have things in the place of this scheduler. */
  sharePlace(name: string): void {
    this.world.places.get(name)!.isShared = true;
  }

  /** Somebody else's place has this name. */
  takePlace(name: string): void {
    this.world.foreignPlaces.add(name);
  }

  /** The port is in use by something that is none of our instances. */
  takePort(protocol: string, port: number): void {
    this.world.takenPorts.add(portKey(protocol, port));
  }

  /** Every watch has a gap now and begins anew with a list. */
  cutWatches(): void {
    for (const session of [...this.world.sessions]) session.cut();
  }

  /** The next call of this method fails. */
  failNext(method: keyof Runtime, error: DomainError = unreachable()): void {
    this.world.failures.push({ method, error });
  }

  /** While false, calls fail with `unavailable`, and watches wait. */
  set isReachable(isReachable: boolean) {
    this.world.isReachable = isReachable;
    this.cutWatches();
  }

  /** How many protected instances of a scheduler must stay, as was last said. */
  budgetOf(scheduler: string): number | undefined {
    return this.world.budgets.get(scheduler);
  }

  /** What an instance was made from. */
  specOf(id: string): InstanceSpec {
    return this.existing(id).spec;
  }

  // --- the port -------------------------------------------------------------------------------------------------------

  async createScheduler(name: string, owner: string): Promise<'created' | 'already_ours'> {
    this.asked('createScheduler', name);
    const place = this.world.places.get(name);
    if (place && !place.deleting && place.owner === owner) return 'already_ours';
    if (place || this.world.foreignPlaces.has(name)) throw placeExists(name);
    this.world.places.set(name, { owner, deleting: false, isShared: false });
    return 'created';
  }

  async ensureScheduler(name: string, owner: string): Promise<'created' | 'there'> {
    this.asked('ensureScheduler', name);
    const place = this.world.places.get(name);
    if (place?.deleting) {
      throw new DomainError('unavailable', 'runtime.scheduler_being_deleted', `The place "${name}" is being deleted`);
    }
    if (place) return 'there';
    if (this.world.foreignPlaces.has(name)) throw placeExists(name);
    this.world.places.set(name, { owner, deleting: false, isShared: false });
    return 'created';
  }

  async deleteScheduler(name: string, owner?: string): Promise<SchedulerRemoval> {
    this.asked('deleteScheduler', name);
    const place = this.world.places.get(name);
    if (!place || (owner !== undefined && place.owner !== owner)) return 'not_found';
    if (place.isShared) this.world.places.delete(name);
    else place.deleting = true;
    for (const { spec } of [...this.world.instances.values()]) {
      if (spec.scheduler === name) this.beginEnding(spec.id, 'scheduler_deleted');
    }
    if (place.isShared) return { left: `place ${name} is left standing: others use it` };
    this.removePlaceIfDone(name);
    return 'deleting';
  }

  async createInstance(spec: InstanceSpec): Promise<RuntimeInstance> {
    this.asked('createInstance', spec.id);
    const place = this.world.places.get(spec.scheduler);
    if (!place || place.deleting) {
      throw new DomainError('not_found', 'runtime.scheduler_not_found', `No place for scheduler "${spec.scheduler}"`);
    }
    if (this.world.instances.has(spec.id)) {
      throw new DomainError('already_exists', 'runtime.instance_exists', `Room "${spec.id}" exists`);
    }
    const taken = hostPortsOf(spec).filter(({ key }) => this.isTaken(key, spec));
    if (taken.length > 0) {
      const ports = taken.map(({ port }) => port);
      throw new DomainError(
        'resource_exhausted',
        'runtime.host_port_taken',
        `Host port ${ports.join(', ')} is in use`,
        {
          details: { ports },
        },
      );
    }
    const instance: RuntimeInstance = {
      id: spec.id,
      scheduler: spec.scheduler,
      version: spec.version,
      validation: spec.validation,
      status: 'pending',
      description: '',
      address: null,
      createdAtMs: (this.options.now ?? Date.now)(),
      generation: 1,
      hostPorts: roomPortsOf(spec),
      placementProblem: null,
      isProtected: false,
    };
    this.world.instances.set(spec.id, { instance, spec, reason: null });
    this.tell({ type: 'present', instance });
    if (this.options.readyAtOnce) this.markReady(spec.id);
    return instance;
  }

  async deleteInstance(scheduler: string, id: string, reason: RemovalReason): Promise<'deleting' | 'not_found'> {
    this.asked('deleteInstance', id, { reason });
    if (this.world.instances.get(id)?.spec.scheduler !== scheduler) return 'not_found';
    this.beginEnding(id, reason);
    return 'deleting';
  }

  async countHosts(placement: Placement): Promise<number> {
    const { hosts = 1 } = this.options;
    return typeof hosts === 'number' ? hosts : hosts(placement);
  }

  poolOf(placement: Placement): string {
    return typeof this.options.hosts === 'function' ? hostPoolOf(placement) : '';
  }

  async protectInstance(scheduler: string, id: string, isProtected: boolean): Promise<'done' | 'not_found'> {
    this.asked('protectInstance', id, { value: isProtected });
    if (this.world.instances.get(id)?.spec.scheduler !== scheduler) return 'not_found';
    this.update(id, { isProtected });
    return 'done';
  }

  async setDisruptionBudget(scheduler: string, protectedInstances: number): Promise<void> {
    this.asked('setDisruptionBudget', scheduler, { value: protectedInstances });
    this.world.budgets.set(scheduler, protectedInstances);
  }

  async listInstances(scheduler?: string): Promise<RuntimeInstance[]> {
    this.asked('listInstances', scheduler ?? '');
    return this.list().filter((instance) => scheduler === undefined || instance.scheduler === scheduler);
  }

  async watchInstances(watcher: InstanceWatcher, signal: AbortSignal): Promise<void> {
    const ending = AbortSignal.any([signal, this.closing.signal]);
    while (!ending.aborted) {
      const session: Session = { watcher, chains: new Map(), held: [], cut: () => undefined };
      const over = new Promise<void>((resolve) => {
        session.cut = resolve;
        ending.addEventListener('abort', () => resolve(), { once: true });
      });
      this.world.sessions.add(session);
      if (this.world.isReachable) await this.begin(session);
      await over;
      this.world.sessions.delete(session);
      await Promise.all(session.chains.values());
    }
  }

  async close(): Promise<void> {
    this.closing.abort();
  }

  // --- inside ---------------------------------------------------------------------------------------------------------

  private async begin(session: Session): Promise<void> {
    try {
      await session.watcher.onList(this.list());
    } catch (error) {
      this.options.onHandlerError?.(error);
      session.cut();
    }
    const held = session.held ?? [];
    session.held = null;
    for (const change of held) this.deliver(session, change);
  }

  private deliver(session: Session, change: InstanceChange): void {
    if (session.held) {
      session.held.push(change);
      return;
    }
    const before = session.chains.get(change.instance.id) ?? Promise.resolve();
    const chain = before
      .then(() => session.watcher.onChange(change))
      .catch((e: unknown) => this.options.onHandlerError?.(e));
    session.chains.set(change.instance.id, chain);
  }

  private tell(change: InstanceChange): void {
    for (const session of this.world.sessions) this.deliver(session, change);
  }

  private list(): RuntimeInstance[] {
    return [...this.world.instances.values()].map(({ instance }) => instance);
  }

  private update(id: string, news: Partial<RuntimeInstance>): void {
    const entry = this.existing(id);
    entry.instance = { ...entry.instance, ...news, generation: entry.instance.generation + 1 };
    this.tell({ type: 'present', instance: entry.instance });
  }

  private remove(id: string, lastSeen: RuntimeInstance): void {
    const { scheduler } = this.existing(id).spec;
    this.world.instances.delete(id);
    this.tell({ type: 'gone', instance: { ...lastSeen, generation: lastSeen.generation + 1 } });
    this.removePlaceIfDone(scheduler);
  }

  private beginEnding(id: string, reason: RemovalReason): void {
    const entry = this.existing(id);
    if (entry.instance.status !== 'terminating') {
      entry.reason = reason;
      this.update(id, { status: 'terminating' });
    }
    if (this.options.endsAtOnce) this.end(id);
  }

  private removePlaceIfDone(name: string): void {
    const isEmpty = [...this.world.instances.values()].every(({ spec }) => spec.scheduler !== name);
    if (isEmpty && this.world.places.get(name)?.deleting) this.world.places.delete(name);
  }

  /** Machines of different pools are different ones here. */
  private isTaken(key: string, placement: Placement): boolean {
    const { hosts = 1 } = this.options;
    const pool = this.poolOf(placement);
    return (
      this.world.takenPorts.has(key) ||
      // Each machine takes one of them.
      [...this.world.instances.values()].filter(
        ({ spec }) => this.poolOf(spec) === pool && hostPortsOf(spec).some((port) => port.key === key),
      ).length >= (typeof hosts === 'number' ? hosts : hosts(placement))
    );
  }

  private existing(id: string): FakeInstance {
    const entry = this.world.instances.get(id);
    if (!entry) throw new Error(`the fake runtime has no instance "${id}"`);
    return entry;
  }

  private asked(
    method: keyof Runtime,
    id: string,
    details: { reason?: RemovalReason; value?: boolean | number } = {},
  ): void {
    this.calls.push({ method, id, ...details });
    if (!this.world.isReachable || this.isCutOff || this.closing.signal.aborted) throw unreachable();
    const failure = this.world.failures.find((candidate) => candidate.method === method);
    if (!failure) return;
    this.world.failures.splice(this.world.failures.indexOf(failure), 1);
    throw failure.error;
  }
}

const emptySpec: InstanceSpec = {
  id: '',
  scheduler: '',
  version: '',
  validation: false,
  containers: [],
  terminationGracePeriodMs: 0,
  labels: {},
  annotations: {},
  toleration: '',
  affinity: '',
  restartPolicy: 'Never',
  operationId: null,
};

function hostPortsOf(spec: InstanceSpec): { key: string; port: number }[] {
  return roomPortsOf(spec).map(({ protocol, port }) => ({ key: portKey(protocol, port), port }));
}

function roomPortsOf(spec: InstanceSpec): RoomPort[] {
  return spec.containers
    .flatMap((container) => container.ports)
    .filter((port) => port.hostPort !== 0)
    .map(({ name, protocol, hostPort }) => ({ name, protocol: protocol.toUpperCase(), port: hostPort }));
}

function portKey(protocol: string, port: number): string {
  return `${protocol.toUpperCase()}/${port}`;
}

function placeExists(name: string): DomainError {
  return new DomainError('already_exists', 'runtime.scheduler_exists', `The place "${name}" exists`);
}

function unreachable(): DomainError {
  return new DomainError('unavailable', 'runtime.unreachable', 'The fake runtime was told to be unreachable');
}
