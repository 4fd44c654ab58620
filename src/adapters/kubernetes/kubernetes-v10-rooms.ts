import type { FoundPlace, FoundRoom } from '../../domain/room/plan-room-adoption';
import { V10Rooms } from '../../ports/v10-rooms';
import { ApiFailure, domainErrorOf } from './api-failure';
import { ClusterAccess, type ClusterAddress } from './cluster-access';
import { KubernetesApi } from './kubernetes-api';
import type { KubernetesObject, Namespace, Pod } from './kubernetes-objects';
import {
  adoptedAnnotation,
  heritageLabel,
  installationLabel,
  letGoAnnotation,
  schedulerLabel,
  versionLabel,
} from './ownership';

/**
 * v10's rooms by its labels: a namespace per scheduler, a pod per room. Its disruption budget in a namespace that is ours is taken
 * over by whoever sets it next (`disruption-budgets.ts`).
 */
export class KubernetesV10Rooms extends V10Rooms {
  private readonly api: KubernetesApi;

  private constructor(
    access: ClusterAccess,
    private readonly installation: string,
    /** Scheme, host and port of the API server, for humans. */
    readonly server: string,
    rate: { qps: number; burst: number },
  ) {
    super();
    this.api = new KubernetesApi(access, rate, {
      callDeadlineMs: 30_000,
      attemptTimeoutMs: 10_000,
      watchSilenceMs: 150_000,
      pageSize: 500,
    });
  }

  /** @throws DomainError `runtime.cluster_unknown` when the configuration says no cluster. */
  static async open(options: {
    cluster: ClusterAddress;
    /** Whose the rooms become. */
    installation: string;
    qps: number;
    burst: number;
  }): Promise<KubernetesV10Rooms> {
    const access = await ClusterAccess.open(options.cluster);
    return new KubernetesV10Rooms(access, options.installation, access.server, options);
  }

  override find(scheduler: string): Promise<FoundPlace | null> {
    return expecting(`read namespace ${scheduler}`, async () => {
      const namespace = await orNull(this.api.call<Namespace>({ method: 'GET', path: namespacePath(scheduler) }));
      if (namespace === null) return null;
      const labelSelector = `${heritageLabel.key}=${heritageLabel.value},${schedulerLabel}=${scheduler}`;
      const { items } = await this.api.list<Pod>(`${namespacePath(scheduler)}/pods`, { labelSelector });
      return {
        holder: holderOf(namespace),
        isGoing: namespace.metadata?.deletionTimestamp !== undefined,
        revision: namespace.metadata?.resourceVersion ?? '',
        rooms: items.map(foundRoom),
      };
    });
  }

  override takeRoom(scheduler: string, id: string, uid: string): Promise<'taken' | 'gone'> {
    return expecting(`label pod ${scheduler}/${id}`, async () => {
      const path = `${namespacePath(scheduler)}/pods/${id}`;
      try {
        // The uid makes it a precondition: a pod that got the name since is refused.
        await this.label(path, { uid });
        return 'taken';
      } catch (error) {
        if (!(error instanceof ApiFailure)) throw error;
        const { status } = error.facts;
        if (status === 404) return 'gone';
        if (status !== 409 && status !== 422) throw error;
        const now = await orNull(this.api.call<Pod>({ method: 'GET', path }));
        if (now?.metadata?.uid !== uid) return 'gone';
        throw error;
      }
    });
  }

  override takePlace(scheduler: string, { revision }: FoundPlace): Promise<'taken' | 'changed'> {
    return expecting(`label namespace ${scheduler}`, async () => {
      try {
        const annotations = { [adoptedAnnotation]: 'true', [letGoAnnotation]: null };
        await this.label(namespacePath(scheduler), { resourceVersion: revision, annotations });
        return 'taken';
      } catch (error) {
        if (error instanceof ApiFailure && (error.isNotFound || error.facts.status === 409)) return 'changed';
        throw error;
      }
    });
  }

  close(): void {
    this.api.close();
  }

  /** `metadata` says what it must be as well, and what else is written to it. */
  private async label(
    path: string,
    metadata: { uid?: string; resourceVersion?: string; annotations?: Record<string, string | null> },
  ): Promise<void> {
    const labels = { [installationLabel]: this.installation };
    await this.api.call({ method: 'PATCH', path, body: { metadata: { ...metadata, labels } } });
  }
}

function foundRoom({ metadata = {}, ...pod }: Pod): FoundRoom {
  return {
    id: metadata.name ?? '',
    uid: metadata.uid ?? '',
    version: metadata.labels?.[versionLabel] ?? '',
    holder: holderOf({ ...pod, metadata }),
    isGoing: metadata.deletionTimestamp !== undefined,
    createdAtMs: Date.parse(metadata.creationTimestamp ?? '') || 0,
  };
}

function holderOf({ metadata }: KubernetesObject): string | null {
  return metadata?.labels?.[installationLabel] ?? null;
}

function namespacePath(name: string): string {
  return `/api/v1/namespaces/${encodeURIComponent(name)}`;
}

async function expecting<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof ApiFailure ? domainErrorOf(error, what) : error;
  }
}

async function orNull<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof ApiFailure && error.isNotFound) return null;
    throw error;
  }
}
