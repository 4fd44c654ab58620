import { isDeepStrictEqual } from 'node:util';
import type { Logger } from '../../ports/logger';
import { ApiFailure } from './api-failure';
import type { KubernetesApi } from './kubernetes-api';
import type { DisruptionBudget } from './kubernetes-objects';
import { installationLabel, isOurs } from './ownership';
import { disruptionBudgetManifest, managedBy } from './scheduler-manifests';

/** Somebody else wrote to it each time between our look and our change. */
const mostAttempts = 5;
/** A cluster is not upgraded more often than it is asked. Milliseconds. */
const absentForMs = 600_000;

export interface BudgetPlace {
  scheduler: string;
  installation: string;
  /** Whether the scheduler's namespace is there, and ours. Asked only where a budget is to be made, or v10's to be taken over. */
  isOurs: () => Promise<boolean>;
}

/**
 * The disruption budget of each scheduler (`disruptionBudgetManifest`). One call where it is as it was left: the change carries its
 * conditions (`test`, RFC 6902). Changed are those with our label, and v10's own in a namespace that is ours. Where the server has
 * no policy/v1, which came with Kubernetes 1.21, every call is done at once and does nothing.
 */
export class DisruptionBudgets {
  private absentUntilMs = -Infinity;
  private isKnownPresent = false;
  private hasSaidAbsent = false;
  /** Schedulers whose budget is not ours to change, of which the log was told. */
  private readonly foreign = new Set<string>();

  constructor(
    private readonly api: Pick<KubernetesApi, 'call'>,
    private readonly log: Logger,
  ) {}

  /** @throws ApiFailure */
  async set(place: BudgetPlace, minAvailable: number): Promise<void> {
    for (let attempt = 1; performance.now() >= this.absentUntilMs; attempt++) {
      try {
        if (await this.tryToSet(place, minAvailable)) return;
      } catch (error) {
        if (!isConflict(error) || attempt === mostAttempts) throw error;
        continue;
      }
      if (attempt === mostAttempts) {
        throw ApiFailure.noAnswer(`the disruption budget of ${place.scheduler} came and went again and again`);
      }
    }
  }

  /** @throws ApiFailure also where there is one. */
  async create(
    { scheduler, installation }: Omit<BudgetPlace, 'isOurs'>,
    minAvailable: number,
    options: { attempts?: number } = {},
  ): Promise<void> {
    if (performance.now() < this.absentUntilMs) return;
    const body = disruptionBudgetManifest(scheduler, installation, minAvailable);
    try {
      await this.api.call({ method: 'POST', path: budgetsPath(scheduler), body }, options);
    } catch (error) {
      if (!(error instanceof ApiFailure) || !error.isNotFound || (await this.isServed())) throw error;
    }
  }

  /** Removes what of it is ours, by its label: v10's that was not taken over, or somebody's, stays. @throws ApiFailure */
  async remove(scheduler: string, installation: string): Promise<void> {
    if (performance.now() < this.absentUntilMs) return;
    const query = { labelSelector: `${installationLabel}=${installation}` };
    // 404: the namespace is gone, or the server has no such thing.
    await outcomeOf(this.api.call({ method: 'DELETE', path: budgetsPath(scheduler), query }), [404]);
  }

  forget(scheduler: string): void {
    this.foreign.delete(scheduler);
  }

  /** False: it changed while it was looked at. */
  private async tryToSet(place: BudgetPlace, minAvailable: number): Promise<boolean> {
    const { scheduler, installation } = place;
    const wanted = disruptionBudgetManifest(scheduler, installation, minAvailable);
    const path = `${budgetsPath(scheduler)}/${scheduler}`;
    const labelPath = `/metadata/labels/${installationLabel.replaceAll('/', '~1')}`;
    const body = [
      { op: 'test', path: labelPath, value: installation },
      { op: 'test', path: '/spec/selector', value: wanted.spec.selector },
      { op: 'add', path: '/spec/minAvailable', value: minAvailable },
    ];
    const outcome = await outcomeOf(this.api.call({ method: 'PATCH', path, body }), [404, 422]);
    if (outcome === 'done') return true;
    if (outcome === 404) return this.make(place, minAvailable);
    const found = await this.read(path);
    if (found === null) return false;
    if (!isOurs(found, installation) && !(await this.isV10s(found, place))) {
      this.sayForeign(scheduler);
      return true;
    }
    if (isAsWanted(found, wanted)) return true;
    // The whole spec, as v10 does it: minAvailable and maxUnavailable exclude each other.
    const metadata = { ...found.metadata, labels: { ...found.metadata?.labels, ...wanted.metadata?.labels } };
    const put = { ...wanted, metadata };
    return (await outcomeOf(this.api.call({ method: 'PUT', path, body: put }), [404])) === 'done';
  }

  private async make(place: BudgetPlace, minAvailable: number): Promise<boolean> {
    if (!(await this.isServed())) return true;
    // A scheduler that is gone, or going, needs none.
    if (!(await place.isOurs())) return true;
    try {
      await this.create(place, minAvailable);
      return true;
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      const { status, reason, causes } = error.facts;
      if (error.isNotFound || causes.some((cause) => cause.reason === 'NamespaceTerminating')) return true;
      if (status === 409 && reason === 'AlreadyExists') return false;
      throw error;
    }
  }

  private async isV10s(found: DisruptionBudget, place: BudgetPlace): Promise<boolean> {
    const labels = found.metadata?.labels ?? {};
    const isOfMaestro = Object.entries(managedBy).every(([key, value]) => labels[key] === value);
    return isOfMaestro && labels[installationLabel] === undefined && (await place.isOurs());
  }

  private async read(path: string): Promise<DisruptionBudget | null> {
    try {
      return await this.api.call<DisruptionBudget>({ method: 'GET', path });
    } catch (error) {
      if (error instanceof ApiFailure && error.isNotFound) return null;
      throw error;
    }
  }

  /** A 404 may be of the budget, of its namespace, or of the whole API. */
  private async isServed(): Promise<boolean> {
    if (this.isKnownPresent) return true;
    const outcome = await outcomeOf(this.api.call({ method: 'GET', path: '/apis/policy/v1' }), [404]);
    if (outcome === 'done') {
      this.isKnownPresent = true;
      return true;
    }
    this.absentUntilMs = performance.now() + absentForMs;
    if (!this.hasSaidAbsent) {
      this.hasSaidAbsent = true;
      this.log.info({}, 'the cluster lacks policy/v1 (Kubernetes 1.21): rooms with matches have no disruption budget');
    }
    return false;
  }

  private sayForeign(scheduler: string): void {
    if (this.foreign.has(scheduler)) return;
    this.foreign.add(scheduler);
    this.log.warn(
      { scheduler_name: scheduler },
      'the disruption budget of a scheduler was not made by this Maestro and is left alone',
    );
  }
}

function budgetsPath(scheduler: string): string {
  return `/apis/policy/v1/namespaces/${scheduler}/poddisruptionbudgets`;
}

function isAsWanted(found: DisruptionBudget, wanted: DisruptionBudget): boolean {
  const { minAvailable, maxUnavailable, selector } = found.spec ?? {};
  const hasLabel = found.metadata?.labels?.[installationLabel] === wanted.metadata?.labels?.[installationLabel];
  return (
    hasLabel &&
    maxUnavailable === undefined &&
    minAvailable === wanted.spec?.minAvailable &&
    isDeepStrictEqual(selector, wanted.spec?.selector)
  );
}

function isConflict(error: unknown): boolean {
  return error instanceof ApiFailure && error.facts.status === 409;
}

/** The status of a failure that is expected. @throws any other. */
async function outcomeOf(call: Promise<unknown>, expected: readonly number[]): Promise<'done' | number> {
  try {
    await call;
    return 'done';
  } catch (error) {
    const status = error instanceof ApiFailure ? error.facts.status : null;
    if (status === null || !expected.includes(status)) throw error;
    return status;
  }
}
