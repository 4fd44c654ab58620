import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { DomainError, messageOf } from '../../domain/errors';
import { disownedPrefix } from '../../domain/room/failure-reason';
import { hostPoolOf } from '../../domain/room/host-pool';
import type { RemovalReason } from '../../domain/operation/operation';
import type { Logger } from '../../ports/logger';
import {
  Runtime,
  type InstanceSpec,
  type InstanceWatcher,
  type RuntimeInstance,
  type SchedulerRemoval,
} from '../../ports/runtime';
import { ApiFailure, domainErrorOf } from './api-failure';
import { ClusterAccess, type ClusterAddress } from './cluster-access';
import { ClusterNodes } from './cluster-nodes';
import { DisruptionBudgets } from './disruption-budgets';
import { InstanceFollower } from './instance-follower';
import { KubernetesApi, type ApiOptions } from './kubernetes-api';
import type { CoreEvent, Pod } from './kubernetes-objects';
import { LinkedAbort } from './linked-abort';
import { ListWatch } from './list-watch';
import { deleteExactly, isAlreadyExists, isGoing, namespacePath, orNull, podPath, podsPath } from './one-object';
import { creationAnnotation, isOurRoom, roomSelector } from './ownership';
import { podManifest, type PodSurroundings } from './pod-manifest';
import { PodProtection } from './pod-protection';
import { instanceOf, readPod } from './read-instance';
import { schedulerNotFound, SchedulerNamespaces } from './scheduler-namespaces';
import { ServerSilence } from './server-silence';

export interface KubernetesRuntimeOptions extends Omit<PodSurroundings, 'installation'>, Partial<ApiOptions> {
  cluster: ClusterAddress;
  /** Whose the namespaces and pods are; asked when it is first needed, and remembered. */
  installation: () => Promise<string>;
  /** Calls a second, on average and at once. Default 100 and 200. */
  qps?: number;
  burst?: number;
}

/** How long a client that is closed waits for the notes that are under way. Milliseconds. */
const notesGraceMs = 500;
/** Names of namespaces and pods; nothing else may become part of a path. */
const validName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/**
 * Rooms as pods of a Kubernetes cluster: a namespace per scheduler, a pod per room.
 *
 * Beyond the port: whatever does not carry our installation's label is left alone and looks as if it were not there.
 * `runtime.spec_invalid` (invalid_argument) is what the API server says of a spec that can never run, `runtime.forbidden`
 * (permission_denied) what it says of a right that this process lacks, `runtime.quota_exceeded` (resource_exhausted) that the
 * namespace is full, and `runtime.admission_denied` (failed_precondition) that the cluster's own rules refuse it. `runtime.host_port_taken` is never thrown: nobody knows on which node a pod will be.
 */
export class KubernetesRuntime extends Runtime {
  readonly kind = 'kubernetes';
  readonly placeWord = 'namespace';
  readonly movesInstances = true;

  private readonly api: KubernetesApi;
  private readonly nodes: ClusterNodes;
  private readonly protection: PodProtection;
  private readonly budgets: DisruptionBudgets;
  private readonly namespaces: SchedulerNamespaces;
  private readonly closing = new AbortController();
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
      new ServerSilence(log),
    );
    this.nodes = new ClusterNodes(this.api, log);
    this.protection = new PodProtection(this.api.urgent);
    this.budgets = new DisruptionBudgets(this.api.urgent, log);
    this.namespaces = new SchedulerNamespaces(this.api, this.budgets, log);
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
    return this.expecting(`create namespace ${name}`, () => this.namespaces.make(name, owner, installation));
  }

  async ensureScheduler(name: string, owner: string): Promise<'created' | 'there'> {
    requireName('scheduler', name);
    const installation = await this.installation();
    return this.expecting(`create namespace ${name}`, () => this.namespaces.makeAgain(name, owner, installation));
  }

  async deleteScheduler(name: string, owner?: string): Promise<SchedulerRemoval> {
    if (!validName.test(name)) return 'not_found';
    this.protection.forget(name);
    this.budgets.forget(name);
    const installation = await this.installation();
    return this.expecting(`delete namespace ${name}`, () => this.namespaces.remove(name, owner, installation));
  }

  async createInstance(spec: InstanceSpec): Promise<RuntimeInstance> {
    requireName('scheduler', spec.scheduler);
    requireName('room', spec.id);
    const installation = await this.installation();
    const creation = randomUUID();
    const body = podManifest(spec, { ...this.options, installation }, creation);
    const what = `create pod ${spec.scheduler}/${spec.id}`;
    return this.expecting(what, async () => {
      await this.namespaces.require(spec.scheduler, installation);
      try {
        return await this.instance(await this.api.call<Pod>({ method: 'POST', path: podsPath(spec.scheduler), body }));
      } catch (error) {
        if (error instanceof ApiFailure && error.saysNamespaceIsGone) {
          this.namespaces.forget(spec.scheduler);
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
      const outcome = await deleteExactly(this.api, podPath(scheduler, id), pod);
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
      (pod) => this.whyDisowned(pod),
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
    const isPlaceOurs = (): Promise<boolean> => this.namespaces.isUsable(scheduler, installation);
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

  /**
   * A watch by labels says of a pod that lost one what it says of a pod that is gone, and shows it as it was: then the pod is
   * asked for. Of one that was deleted it shows the sign of that, also when it went at once.
   * @throws where nobody knows.
   */
  private async whyDisowned(lastSeen: Pod): Promise<string | null> {
    const { name = '', namespace = '', uid } = lastSeen.metadata ?? {};
    if (isGoing(lastSeen)) return null;
    const installation = await this.installation();
    const pod = await this.readPod(namespace, name);
    if (pod === null || pod.metadata?.uid !== uid || isOurRoom(pod, installation)) return null;
    return `${disownedPrefix}its labels were changed by someone else, so that it is not this Maestro's any more; it is left alone`;
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

  private readPod(scheduler: string, id: string): Promise<Pod | null> {
    return orNull(this.api.call<Pod>({ method: 'GET', path: podPath(scheduler, id) }));
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

function requireName(what: string, name: string): void {
  if (validName.test(name)) return;
  throw new DomainError(
    'invalid_argument',
    'runtime.name_invalid',
    `The ${what} name "${name}" cannot be a Kubernetes name: use lower-case letters, digits, "-" and "."`,
  );
}
