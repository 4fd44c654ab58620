import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { DomainError, messageOf } from '../../domain/errors';
import { hostPoolOf } from '../../domain/room/host-pool';
import type { RemovalReason } from '../../domain/operation/operation';
import type { Logger } from '../../ports/logger';
import { Runtime, type InstanceSpec, type InstanceWatcher, type RuntimeInstance } from '../../ports/runtime';
import { ApiFailure, domainErrorOf } from './api-failure';
import { ClusterAccess, type ClusterAddress } from './cluster-access';
import { ClusterNodes } from './cluster-nodes';
import { DisruptionBudgets } from './disruption-budgets';
import { InstanceFollower } from './instance-follower';
import { KubernetesApi, type ApiOptions } from './kubernetes-api';
import type { CoreEvent, Namespace, Pod } from './kubernetes-objects';
import { LinkedAbort } from './linked-abort';
import { ListWatch } from './list-watch';
import { creationAnnotation, isOurRoom, isOurs, ownerAnnotation, roomSelector } from './ownership';
import { podManifest, type PodSurroundings } from './pod-manifest';
import { PodProtection } from './pod-protection';
import { instanceOf, readPod } from './read-instance';
import { namespaceManifest } from './scheduler-manifests';

export interface KubernetesRuntimeOptions extends Omit<PodSurroundings, 'installation'>, Partial<ApiOptions> {
  cluster: ClusterAddress;
  /** Whose the namespaces and pods are; asked when it is first needed, and remembered. */
  installation: () => Promise<string>;
  /** Calls a second, on average and at once. Default 100 and 200. */
  qps?: number;
  burst?: number;
}

/** A place that was ours a moment ago still is. Milliseconds. */
const placeKnownForMs = 60_000;
/** How long a client that is closed waits for the notes that are under way. Milliseconds. */
const notesGraceMs = 500;
/** Names of namespaces and pods; nothing else may become part of a path. */
const validName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/**
 * Rooms as pods of a Kubernetes cluster: a namespace per scheduler, a pod per room.
 *
 * Beyond the port: whatever does not carry our installation's label is left alone and looks as if it were not there.
 * `runtime.spec_invalid` (invalid_argument) is what the API server says of a spec that can never run, `runtime.forbidden`
 * (permission_denied) what it says of a missing right, and `runtime.quota_exceeded` (resource_exhausted) that the namespace
 * is full. `runtime.host_port_taken` is never thrown: nobody knows on which node a pod will be.
 */
export class KubernetesRuntime extends Runtime {
  readonly kind = 'kubernetes';
  readonly movesInstances = true;

  private readonly api: KubernetesApi;
  private readonly nodes: ClusterNodes;
  private readonly protection: PodProtection;
  private readonly budgets: DisruptionBudgets;
  private readonly closing = new AbortController();
  /** Namespaces that are ours, and until when that need not be asked again. */
  private readonly places = new Map<string, number>();
  /** What is written for humans to find, and nobody waits for. */
  private readonly notes = new Set<Promise<void>>();
  private knownInstallation: string | null = null;

  private constructor(
    access: ClusterAccess,
    private readonly options: KubernetesRuntimeOptions,
    private readonly log: Logger,
  ) {
    super();
    this.api = new KubernetesApi(
      access,
      { qps: options.qps ?? 100, burst: options.burst ?? 200 },
      {
        callDeadlineMs: options.callDeadlineMs ?? 30_000,
        attemptTimeoutMs: options.attemptTimeoutMs ?? 10_000,
        // Bookmarks come about once a minute.
        watchSilenceMs: options.watchSilenceMs ?? 150_000,
        pageSize: options.pageSize ?? 500,
      },
    );
    this.nodes = new ClusterNodes(this.api, log);
    this.protection = new PodProtection(this.api.urgent);
    this.budgets = new DisruptionBudgets(this.api.urgent, log);
  }

  /**
   * Does not connect: a cluster that is away at start may come.
   * @throws DomainError `runtime.cluster_unknown` (failed_precondition) when the configuration says no cluster.
   */
  static async open(options: KubernetesRuntimeOptions, log: Logger): Promise<KubernetesRuntime> {
    const access = await ClusterAccess.open(options.cluster);
    log.info({ cluster: access.server }, 'rooms are pods of this cluster');
    return new KubernetesRuntime(access, options, log);
  }

  /**
   * Whether the cluster answers now and shows pods to us; asked once, without further attempts.
   * @throws DomainError that says what is in the way: `runtime.unreachable`, `runtime.unauthenticated`, `runtime.forbidden`.
   */
  async checkAccess(): Promise<void> {
    await this.expecting('list pods', () =>
      this.api.call({ method: 'GET', path: podsPath(), query: { limit: '1' } }, { attempts: 1, isUrgent: true }),
    );
  }

  async createScheduler(name: string, owner: string): Promise<'created' | 'already_ours'> {
    requireName('scheduler', name);
    const installation = await this.installation();
    const outcome = await this.expecting(`create namespace ${name}`, async () => {
      try {
        const body = namespaceManifest(name, owner, installation);
        await this.api.call<Namespace>({ method: 'POST', path: '/api/v1/namespaces', body });
        return 'created';
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
        // Also after an answer that was lost: then it is found here, with our owner.
        const namespace = await this.readNamespace(name);
        const isMine = namespace?.metadata?.annotations?.[ownerAnnotation] === owner;
        if (namespace && isMine && isOurs(namespace, installation) && !isGoing(namespace)) return 'already_ours';
        throw schedulerExists(name, namespace, installation);
      }
    });
    this.places.set(name, Date.now() + placeKnownForMs);
    // Best effort, as in v10: it is made when the first match needs it, too.
    await this.budgets.create({ scheduler: name, installation }, 0, { attempts: 2 }).catch((error: unknown) => {
      if (isAlreadyExists(error)) return;
      const fields = { scheduler_name: name, err: messageOf(error) };
      this.log.warn(fields, 'the disruption budget of a scheduler could not be made');
    });
    return outcome;
  }

  async deleteScheduler(name: string, owner?: string): Promise<'deleting' | 'not_found'> {
    if (!validName.test(name)) return 'not_found';
    this.places.delete(name);
    this.protection.forget(name);
    this.budgets.forget(name);
    const installation = await this.installation();
    return this.expecting(`delete namespace ${name}`, async () => {
      const namespace = await this.readNamespace(name);
      if (namespace === null || !isOurs(namespace, installation)) return 'not_found';
      if (owner !== undefined && namespace.metadata?.annotations?.[ownerAnnotation] !== owner) return 'not_found';
      if (isGoing(namespace)) return 'deleting';
      return this.deleteExactly(namespacePath(name), namespace);
    });
  }

  async createInstance(spec: InstanceSpec): Promise<RuntimeInstance> {
    requireName('scheduler', spec.scheduler);
    requireName('room', spec.id);
    const installation = await this.installation();
    const creation = randomUUID();
    const body = podManifest(spec, { ...this.options, installation }, creation);
    const what = `create pod ${spec.scheduler}/${spec.id}`;
    return this.expecting(what, async () => {
      await this.requirePlace(spec.scheduler, installation);
      try {
        return await this.instance(await this.api.call<Pod>({ method: 'POST', path: podsPath(spec.scheduler), body }));
      } catch (error) {
        if (error instanceof ApiFailure && error.isNotFound) {
          this.places.delete(spec.scheduler);
          throw schedulerNotFound(spec.scheduler);
        }
        if (!isAlreadyExists(error)) throw error;
        return this.foundInstead(spec, creation, installation);
      }
    });
  }

  async deleteInstance(scheduler: string, id: string, reason: RemovalReason): Promise<'deleting' | 'not_found'> {
    if (!validName.test(scheduler) || !validName.test(id)) return 'not_found';
    const installation = await this.installation();
    return this.expecting(`delete pod ${scheduler}/${id}`, async () => {
      const pod = await this.readPod(scheduler, id);
      if (pod === null || !isOurRoom(pod, installation)) return 'not_found';
      if (isGoing(pod)) return 'deleting';
      const outcome = await this.deleteExactly(podPath(scheduler, id), pod);
      if (outcome === 'deleting') this.note(pod, 'GameRoomDeleted', reason);
      return outcome;
    });
  }

  async listInstances(scheduler?: string): Promise<RuntimeInstance[]> {
    if (scheduler !== undefined && !validName.test(scheduler)) return [];
    const labelSelector = roomSelector(await this.installation());
    return this.expecting('list pods', async () => {
      const { items } = await this.api.list<Pod>(podsPath(scheduler), { labelSelector });
      const readings = items.map(readPod);
      await this.nodes.read(readings.map(({ nodeName }) => nodeName));
      return readings.map((reading) => instanceOf(reading, this.nodes.addressOf(reading.nodeName)));
    });
  }

  /** One list and watch of pods over all namespaces, and one of nodes, whatever the number of schedulers. */
  async watchInstances(watcher: InstanceWatcher, signal: AbortSignal): Promise<void> {
    const linked = new LinkedAbort(signal, this.closing.signal);
    try {
      await this.watchUntil(watcher, linked.signal);
    } finally {
      linked.release();
    }
  }

  private async watchUntil(watcher: InstanceWatcher, ending: AbortSignal): Promise<void> {
    if (ending.aborted) return;
    const labelSelector = roomSelector(await this.installation());
    const follower = new InstanceFollower(
      watcher,
      (nodeName) => this.nodes.addressOf(nodeName),
      () => watch.relist(),
      this.log,
      ending,
    );
    const watch = new ListWatch<Pod>(
      this.api,
      { path: podsPath(), query: { labelSelector }, name: 'pods' },
      {
        onList: async (pods) => {
          await this.nodes.read(pods.map((pod) => readPod(pod).nodeName));
          await follower.list(pods);
        },
        onEvent: (type, pod) => (type === 'DELETED' ? follower.gone(pod) : follower.present(pod)),
      },
      this.log,
    );
    const nodes = this.nodes.follow((nodeName) => follower.nodeChanged(nodeName), ending);
    await Promise.all([watch.run(ending), nodes]);
    follower.stop();
    await follower.idle();
  }

  /** As of half a minute ago at most. */
  countHosts(placement: Pick<InstanceSpec, 'affinity' | 'toleration'>): Promise<number> {
    return this.expecting('list nodes', () => this.nodes.countHosts(placement));
  }

  poolOf(placement: Pick<InstanceSpec, 'affinity' | 'toleration'>): string {
    return hostPoolOf(placement);
  }

  async protectInstance(scheduler: string, id: string, isProtected: boolean): Promise<'done' | 'not_found'> {
    if (!validName.test(scheduler) || !validName.test(id)) return 'not_found';
    const installation = await this.installation();
    const place = { scheduler, path: podPath(scheduler, id) };
    const what = `${isProtected ? 'protect' : 'release'} pod ${scheduler}/${id}`;
    return this.expecting(what, () => this.protection.tell(place, isProtected, installation));
  }

  async setDisruptionBudget(scheduler: string, protectedInstances: number): Promise<void> {
    if (!validName.test(scheduler)) return;
    const installation = await this.installation();
    const isPlaceOurs = async (): Promise<boolean> => {
      const namespace = await this.readNamespace(scheduler);
      return namespace !== null && isOurs(namespace, installation) && !isGoing(namespace);
    };
    await this.expecting(`set the disruption budget of ${scheduler}`, () =>
      this.budgets.set({ scheduler, installation, isOurs: isPlaceOurs }, protectedInstances),
    );
  }

  async close(): Promise<void> {
    this.closing.abort();
    const given = new AbortController();
    const notesDone = Promise.all(this.notes).then(() => given.abort());
    await sleep(notesGraceMs, undefined, { signal: given.signal }).catch(() => undefined);
    this.api.close();
    await notesDone;
  }

  /** The pod of this name that was there already: made by this very call, whose answer was lost, or by another. */
  private async foundInstead(
    { scheduler, id }: InstanceSpec,
    creation: string,
    installation: string,
  ): Promise<RuntimeInstance> {
    const pod = await this.readPod(scheduler, id);
    if (pod?.metadata?.annotations?.[creationAnnotation] === creation) return this.instance(pod);
    if (pod === null || isOurRoom(pod, installation)) {
      throw new DomainError('already_exists', 'runtime.instance_exists', `Room "${id}" exists`);
    }
    throw new DomainError(
      'already_exists',
      'runtime.instance_name_taken',
      `Namespace "${scheduler}" has a pod "${id}" that this Maestro did not make`,
    );
  }

  private async instance(pod: Pod): Promise<RuntimeInstance> {
    const reading = readPod(pod);
    await this.nodes.read([reading.nodeName]);
    return instanceOf(reading, this.nodes.addressOf(reading.nodeName));
  }

  /** @throws DomainError `runtime.scheduler_not_found`, also for a namespace that is not ours. */
  private async requirePlace(scheduler: string, installation: string): Promise<void> {
    if ((this.places.get(scheduler) ?? 0) > Date.now()) return;
    const namespace = await this.readNamespace(scheduler);
    if (namespace === null || !isOurs(namespace, installation) || isGoing(namespace)) {
      this.places.delete(scheduler);
      throw schedulerNotFound(scheduler);
    }
    this.places.set(scheduler, Date.now() + placeKnownForMs);
  }

  private readNamespace(name: string): Promise<Namespace | null> {
    return orNull(this.api.call<Namespace>({ method: 'GET', path: namespacePath(name) }));
  }

  private readPod(scheduler: string, id: string): Promise<Pod | null> {
    return orNull(this.api.call<Pod>({ method: 'GET', path: podPath(scheduler, id) }));
  }

  /** Deletes the object that was looked at, and no other that got its name since. */
  private async deleteExactly(path: string, { metadata }: Namespace | Pod): Promise<'deleting' | 'not_found'> {
    try {
      await this.api.call({ method: 'DELETE', path, body: { preconditions: { uid: metadata?.uid } } });
      return 'deleting';
    } catch (error) {
      if (error instanceof ApiFailure && error.isNotFound) return 'not_found';
      // A namespace that somebody else began to delete meanwhile answers so too.
      if (!(error instanceof ApiFailure) || error.facts.status !== 409) throw error;
      const now = await orNull(this.api.call<Namespace | Pod>({ method: 'GET', path }));
      if (now === null || now.metadata?.uid !== metadata?.uid) return 'not_found';
      if (isGoing(now)) return 'deleting';
      throw error;
    }
  }

  /** Dropped where others wait for the API server. */
  private note({ metadata = {} }: Pod, reason: string, message: string): void {
    const { name = '', namespace = '', uid } = metadata;
    const now = new Date().toISOString();
    const body: CoreEvent = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${name}.${randomUUID().slice(0, 13)}`, namespace },
      involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace, name, ...(uid === undefined ? {} : { uid }) },
      type: 'Normal',
      reason,
      message,
      // v10's, by which dashboards find them.
      source: { component: 'maestro-next' },
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    };
    const written = this.api
      .callIfIdle({ method: 'POST', path: `${namespacePath(namespace)}/events`, body })
      .then(
        () => undefined,
        (error: unknown) =>
          this.log.debug({ room_id: name, err: messageOf(error) }, 'an event could not be written to the cluster'),
      )
      .finally(() => this.notes.delete(written));
    this.notes.add(written);
  }

  private async installation(): Promise<string> {
    this.knownInstallation ??= await this.options.installation();
    return this.knownInstallation;
  }

  private async expecting<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (this.closing.signal.aborted) {
      throw new DomainError('unavailable', 'runtime.closed', 'This client of Kubernetes was closed');
    }
    try {
      return await work();
    } catch (error) {
      throw error instanceof ApiFailure ? domainErrorOf(error, what) : error;
    }
  }
}

function namespacePath(name: string): string {
  return `/api/v1/namespaces/${name}`;
}

function podsPath(scheduler?: string): string {
  return scheduler === undefined ? '/api/v1/pods' : `${namespacePath(scheduler)}/pods`;
}

function podPath(scheduler: string, id: string): string {
  return `${podsPath(scheduler)}/${id}`;
}

function isGoing({ metadata }: Namespace | Pod): boolean {
  return metadata?.deletionTimestamp !== undefined;
}

function isAlreadyExists(error: unknown): boolean {
  return error instanceof ApiFailure && error.facts.status === 409 && error.facts.reason === 'AlreadyExists';
}

async function orNull<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof ApiFailure && error.isNotFound) return null;
    throw error;
  }
}

function requireName(what: string, name: string): void {
  if (validName.test(name)) return;
  throw new DomainError(
    'invalid_argument',
    'runtime.name_invalid',
    `The ${what} name "${name}" cannot be a Kubernetes name: use lower-case letters, digits, "-" and "."`,
  );
}

function schedulerNotFound(scheduler: string): DomainError {
  return new DomainError(
    'not_found',
    'runtime.scheduler_not_found',
    `Scheduler "${scheduler}" has no namespace of this Maestro in the cluster`,
  );
}

function schedulerExists(name: string, namespace: Namespace | null, installation: string): DomainError {
  const why =
    namespace === null || isGoing(namespace)
      ? 'is being deleted: try again when its rooms are gone'
      : isOurs(namespace, installation)
        ? 'exists and belongs to another operation'
        : 'exists and was not made by this Maestro';
  return new DomainError('already_exists', 'runtime.scheduler_exists', `Namespace "${name}" ${why}`);
}
