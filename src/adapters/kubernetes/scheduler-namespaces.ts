import { DomainError, messageOf } from '../../domain/errors';
import type { Logger } from '../../ports/logger';
import type { SchedulerRemoval } from '../../ports/runtime';
import { ApiFailure } from './api-failure';
import type { DisruptionBudgets } from './disruption-budgets';
import type { KubernetesApi } from './kubernetes-api';
import type { Namespace, Pod } from './kubernetes-objects';
import { deleteExactly, isAlreadyExists, isGoing, namespacePath, orNull, podPath, podsPath } from './one-object';
import {
  adoptedAnnotation,
  foreignRoomSelector,
  foreignSelector,
  installationLabel,
  isOurs,
  letGoAnnotation,
  ownerAnnotation,
  roomSelector,
} from './ownership';
import { managedBy, namespaceManifest } from './scheduler-manifests';

/** A place that was ours a moment ago still is. Milliseconds. */
const knownForMs = 60_000;
/** Somebody else wrote to the namespace each time between our look and our change. */
const mostLooks = 5;
/** Pods that are deleted side by side. */
const parallelDeletions = 20;
/** Names of other people's pods that are told. */
const namesShown = 3;

/**
 * The namespaces of schedulers: made, made again, and given up.
 *
 * One that this Maestro made goes with its scheduler, with all that is in it, as v10's does: the Secrets of its rooms are put there by
 * hand. One that it took over stays, and so does one in which others run pods: they would end without a word. Then what is
 * ours in it goes, and the label by which it is ours; a mark remains by which this installation may take it up again.
 */
export class SchedulerNamespaces {
  /** Namespaces that are ours, and until when that need not be asked again. */
  private readonly known = new Map<string, number>();
  /** Namespaces that stay because nobody can tell any more whose they are, and of which the log says so. */
  private readonly toldUnlabelled = new Set<string>();
  /** Looks that are on their way: who asks meanwhile shares them. */
  private readonly looks = new Map<string, Promise<void>>();

  constructor(
    private readonly api: KubernetesApi,
    private readonly budgets: DisruptionBudgets,
    private readonly log: Logger,
  ) {}

  /** As the port's `createScheduler`. @throws ApiFailure */
  async make(name: string, owner: string, installation: string): Promise<'created' | 'already_ours'> {
    for (let looks = 1; ; looks++) {
      if (await this.post(name, owner, installation)) return 'created';
      // Also after an answer that was lost: then it is found here, with our owner.
      const found = await this.read(name);
      if (found !== null && isOurs(found, installation) && !isGoing(found) && ownerOf(found) === owner) {
        await this.furnish(name, installation);
        return 'already_ours';
      }
      if (found === null || !wasLetGo(found, installation) || looks === mostLooks) {
        throw schedulerExists(name, found, installation);
      }
      if (await this.takeUpAgain(found, owner, installation)) return 'created';
    }
  }

  /** As the port's `ensureScheduler`. One call where all is well. @throws ApiFailure */
  async makeAgain(name: string, owner: string, installation: string): Promise<'created' | 'there'> {
    for (let looks = 1; ; looks++) {
      const found = await this.read(name);
      if (found !== null && isGoing(found)) throw beingDeleted(name);
      if (found !== null && isOurs(found, installation)) {
        this.remember(name);
        return 'there';
      }
      if ((found !== null && !wasLetGo(found, installation)) || looks === mostLooks) {
        throw schedulerExists(name, found, installation);
      }
      const isMade =
        found === null
          ? await this.post(name, owner, installation)
          : await this.takeUpAgain(found, owner, installation);
      if (isMade) return 'created';
    }
  }

  /** As the port's `deleteScheduler`. @throws ApiFailure */
  async remove(name: string, owner: string | undefined, installation: string): Promise<SchedulerRemoval> {
    this.known.delete(name);
    let whyLeft: string | null = null;
    for (let looks = 1; looks <= mostLooks; looks++) {
      const found = await this.read(name);
      const isLeft = found !== null && wasLetGo(found, installation) && !isGoing(found);
      if (whyLeft !== null && !isLeft) return leftStanding(name, whyLeft);
      if (found === null || (owner !== undefined && ownerOf(found) !== owner)) return 'not_found';
      if (isLeft) {
        // Whoever let it go may have come no further.
        await this.clear(name, installation);
        if (await this.dropOwner(found)) return leftStanding(name, whyLeft ?? "it is not this Maestro's alone");
        continue;
      }
      if (!isOurs(found, installation)) {
        if (!hasLostLabel(found)) return 'not_found';
        const why = `its label ${installationLabel} is gone, by which it was this Maestro's`;
        if (!this.toldUnlabelled.has(name)) {
          this.log.warn({ scheduler_name: name, reason: why }, 'the namespace of a deleted scheduler is left standing');
        }
        this.toldUnlabelled.add(name);
        return leftStanding(name, why);
      }
      if (isGoing(found)) return 'deleting';
      const why = await this.whyItStays(found, installation);
      if (why === null) return deleteExactly(this.api, namespacePath(name), found);
      if (await this.letGo(found, installation)) {
        this.log.warn({ scheduler_name: name, reason: why }, 'the namespace of a deleted scheduler is left standing');
        whyLeft = why;
      }
    }
    throw ApiFailure.noAnswer(`namespace ${name} changed again and again`);
  }

  /** @throws DomainError `runtime.scheduler_not_found`, also for a namespace that is not ours. */
  async require(name: string, installation: string): Promise<void> {
    if ((this.known.get(name) ?? 0) > Date.now()) return;
    let look = this.looks.get(name);
    if (look === undefined) {
      look = this.look(name, installation).finally(() => this.looks.delete(name));
      this.looks.set(name, look);
    }
    return look;
  }

  /** Something said that it is not there any more. */
  forget(name: string): void {
    this.known.delete(name);
  }

  async isUsable(name: string, installation: string): Promise<boolean> {
    const found = await this.read(name);
    return found !== null && isOurs(found, installation) && !isGoing(found);
  }

  private async look(name: string, installation: string): Promise<void> {
    if (await this.isUsable(name, installation)) {
      this.remember(name);
      return;
    }
    this.known.delete(name);
    throw schedulerNotFound(name);
  }

  /** False where the name is taken. */
  private async post(name: string, owner: string, installation: string): Promise<boolean> {
    try {
      const body = namespaceManifest(name, owner, installation);
      await this.api.call<Namespace>({ method: 'POST', path: '/api/v1/namespaces', body });
    } catch (error) {
      if (isAlreadyExists(error)) return false;
      throw error;
    }
    await this.furnish(name, installation);
    return true;
  }

  /** False: it changed since it was looked at. @throws DomainError `runtime.scheduler_exists` where a v10 has rooms in it. */
  private async takeUpAgain(namespace: Namespace, owner: string, installation: string): Promise<boolean> {
    const name = namespace.metadata?.name ?? '';
    const rooms = await this.presentPods(name, foreignRoomSelector(installation));
    if (rooms.length > 0) {
      throw new DomainError(
        'already_exists',
        'runtime.scheduler_exists',
        `Namespace "${name}" exists, and rooms of another Maestro are in it (${namesOf(rooms)})`,
      );
    }
    const labels = { [installationLabel]: installation };
    const annotations = { [ownerAnnotation]: owner, [adoptedAnnotation]: 'true', [letGoAnnotation]: null };
    if (!(await this.mark(namespace, { labels, annotations }))) return false;
    await this.furnish(name, installation);
    return true;
  }

  /** False: it changed since it was looked at. The owner stays known: its roll-back may break off here, and is gone on with. */
  private letGo(namespace: Namespace, installation: string): Promise<boolean> {
    const annotations = { [adoptedAnnotation]: null, [letGoAnnotation]: installation };
    const ofOurs = wasTakenOver(namespace) ? {} : Object.fromEntries(Object.keys(managedBy).map((key) => [key, null]));
    return this.mark(namespace, { labels: { ...ofOurs, [installationLabel]: null }, annotations });
  }

  /** Of one that was let go, and has nothing of ours in it any more. False: it changed since it was looked at. */
  private async dropOwner(namespace: Namespace): Promise<boolean> {
    if (ownerOf(namespace) === undefined) return true;
    return this.mark(namespace, { labels: {}, annotations: { [ownerAnnotation]: null } });
  }

  /** Merged into the namespace as it was looked at, and into no other state of it. */
  private async mark(
    { metadata }: Namespace,
    marks: { labels: Record<string, string | null>; annotations: Record<string, string | null> },
  ): Promise<boolean> {
    const body = { metadata: { uid: metadata?.uid, resourceVersion: metadata?.resourceVersion, ...marks } };
    try {
      await this.api.call({ method: 'PATCH', path: namespacePath(metadata?.name ?? ''), body });
      return true;
    } catch (error) {
      if (error instanceof ApiFailure && (error.isNotFound || error.facts.status === 409)) return false;
      throw error;
    }
  }

  /** Null for one that may go with all that is in it. */
  private async whyItStays(namespace: Namespace, installation: string): Promise<string | null> {
    if (wasTakenOver(namespace)) {
      return 'this Maestro did not make it, but took it over';
    }
    const foreign = await this.presentPods(namespace.metadata?.name ?? '', foreignSelector(installation));
    return foreign.length === 0 ? null : `pods are in it that this Maestro did not make (${namesOf(foreign)})`;
  }

  /** Removes what carries our label from a namespace that does not: the disruption budget, and pods with their grace period. */
  private async clear(name: string, installation: string): Promise<void> {
    await this.budgets.remove(name, installation);
    const pods = await this.presentPods(name, roomSelector(installation));
    for (let start = 0; start < pods.length; start += parallelDeletions) {
      const batch = pods.slice(start, start + parallelDeletions);
      await Promise.all(batch.map((pod) => deleteExactly(this.api, podPath(name, pod.metadata?.name ?? ''), pod)));
    }
  }

  /** Best effort, as in v10: the budget is made when the first match needs it, too. */
  private async furnish(name: string, installation: string): Promise<void> {
    this.remember(name);
    await this.budgets.create({ scheduler: name, installation }, 0, { attempts: 2 }).catch((error: unknown) => {
      if (isAlreadyExists(error)) return;
      const fields = { scheduler_name: name, err: messageOf(error) };
      this.log.warn(fields, 'the disruption budget of a scheduler could not be made');
    });
  }

  /** Those that are not ending. */
  private async presentPods(name: string, labelSelector: string): Promise<Pod[]> {
    const { items } = await this.api.list<Pod>(podsPath(name), { labelSelector });
    return items.filter((pod) => !isGoing(pod));
  }

  private remember(name: string): void {
    this.known.set(name, Date.now() + knownForMs);
  }

  private read(name: string): Promise<Namespace | null> {
    return orNull(this.api.call<Namespace>({ method: 'GET', path: namespacePath(name) }));
  }
}

function ownerOf({ metadata }: Namespace): string | undefined {
  return metadata?.annotations?.[ownerAnnotation];
}

/** Earlier adoptions did not say so, and gave no owner. */
function wasTakenOver(namespace: Namespace): boolean {
  return ownerOf(namespace) === undefined || namespace.metadata?.annotations?.[adoptedAnnotation] !== undefined;
}

/** A Maestro made it, and somebody took its label off. */
function hasLostLabel(namespace: Namespace): boolean {
  const { labels, annotations } = namespace.metadata ?? {};
  return ownerOf(namespace) !== undefined && !labels?.[installationLabel] && !annotations?.[letGoAnnotation];
}

/** Nobody's since, and ours before. */
function wasLetGo({ metadata }: Namespace, installation: string): boolean {
  const isNobodys = metadata?.labels?.[installationLabel] === undefined;
  return isNobodys && metadata?.annotations?.[letGoAnnotation] === installation;
}

/** `tool-1, tool-2, tool-3 and 4 more`. */
function namesOf(pods: readonly Pod[]): string {
  const names = pods.slice(0, namesShown).map(({ metadata }) => metadata?.name ?? '');
  const more = pods.length - names.length;
  return `${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function leftStanding(name: string, why: string): { left: string } {
  return { left: `namespace ${name} is left standing, with what others have in it: ${why}` };
}

export function schedulerNotFound(scheduler: string): DomainError {
  return new DomainError(
    'not_found',
    'runtime.scheduler_not_found',
    `Scheduler "${scheduler}" has no namespace of this Maestro in the cluster`,
  );
}

function beingDeleted(name: string): DomainError {
  return new DomainError(
    'unavailable',
    'runtime.scheduler_being_deleted',
    `Namespace "${name}" is being deleted: it can be made again when it is gone`,
  );
}

function schedulerExists(name: string, namespace: Namespace | null, installation: string): DomainError {
  const why =
    namespace === null || isGoing(namespace)
      ? 'is being deleted: try again when its rooms are gone'
      : isOurs(namespace, installation)
        ? 'exists and belongs to another operation'
        : `exists and was not made by this Maestro${
            hasLostLabel(namespace) ? `; if it was, put its label ${installationLabel}=${installation} back` : ''
          }`;
  return new DomainError('already_exists', 'runtime.scheduler_exists', `Namespace "${name}" ${why}`);
}
