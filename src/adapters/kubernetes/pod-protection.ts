import { safeToEvictAnnotation } from '../../domain/scheduler/reserved-keys';
import { ApiFailure } from './api-failure';
import type { KubernetesApi } from './kubernetes-api';
import type { Pod } from './kubernetes-objects';
import { heritageLabel, idleSafeToEvictAnnotation, installationLabel, isOurRoom, matchLabel } from './ownership';

/** Somebody else wrote to the pod each time between our look and our change. */
const mostLooks = 5;

/**
 * Tells cluster autoscalers and disruption budgets of a pod's match. The change carries its own conditions (`test`, RFC 6902), so
 * that one call does it and a pod that is not ours stays as it is; only where a condition fails is the pod looked at.
 */
export class PodProtection {
  /** Schedulers whose idle pods may not be moved either, as the last look showed. */
  private readonly keepsIdle = new Set<string>();

  constructor(private readonly api: Pick<KubernetesApi, 'call'>) {}

  /** @throws ApiFailure */
  async tell(
    { scheduler, path }: { scheduler: string; path: string },
    isProtected: boolean,
    installation: string,
  ): Promise<'done' | 'not_found'> {
    const idle = this.keepsIdle.has(scheduler) ? 'false' : 'true';
    const body = [...conditions(installation, idle), ...(isProtected ? protection : release(idle))];
    try {
      await this.api.call({ method: 'PATCH', path, body });
      return 'done';
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      if (error.isNotFound) return 'not_found';
      if (!isConditionFailed(error)) throw error;
    }
    return this.lookAndTell({ scheduler, path }, isProtected, installation);
  }

  forget(scheduler: string): void {
    this.keepsIdle.delete(scheduler);
  }

  /** A pod of v10, or that somebody edited, or whose answer was lost: what is missing is added. */
  private async lookAndTell(
    { scheduler, path }: { scheduler: string; path: string },
    isProtected: boolean,
    installation: string,
  ): Promise<'done' | 'not_found'> {
    for (let looks = 1; ; looks++) {
      try {
        const pod = await this.api.call<Pod>({ method: 'GET', path });
        if (!isOurRoom(pod, installation)) return 'not_found';
        const idle = idleValueOf(pod);
        if (idle === 'false') this.keepsIdle.add(scheduler);
        else this.keepsIdle.delete(scheduler);
        const body = {
          metadata: {
            // The pod that was looked at, as it was then.
            uid: pod.metadata?.uid,
            resourceVersion: pod.metadata?.resourceVersion,
            labels: { [matchLabel]: isProtected ? 'true' : null },
            annotations: {
              [safeToEvictAnnotation]: isProtected ? 'false' : idle,
              [idleSafeToEvictAnnotation]: idle,
            },
          },
        };
        await this.api.call({ method: 'PATCH', path, body });
        return 'done';
      } catch (error) {
        if (!(error instanceof ApiFailure)) throw error;
        if (error.isNotFound) return 'not_found';
        if (error.facts.status !== 409 || looks === mostLooks) throw error;
      }
    }
  }
}

function conditions(installation: string, idle: string): object[] {
  return [
    { op: 'test', path: labelPath(installationLabel), value: installation },
    { op: 'test', path: labelPath(heritageLabel.key), value: heritageLabel.value },
    { op: 'test', path: annotationPath(idleSafeToEvictAnnotation), value: idle },
  ];
}

const protection = [
  { op: 'add', path: annotationPath(safeToEvictAnnotation), value: 'false' },
  { op: 'add', path: labelPath(matchLabel), value: 'true' },
];

function release(idle: string): object[] {
  return [
    { op: 'add', path: annotationPath(safeToEvictAnnotation), value: idle },
    // Fails where it is not there, and then the pod is looked at.
    { op: 'remove', path: labelPath(matchLabel) },
  ];
}

function labelPath(key: string): string {
  return `/metadata/labels/${escaped(key)}`;
}

function annotationPath(key: string): string {
  return `/metadata/annotations/${escaped(key)}`;
}

/** RFC 6901. */
function escaped(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** The API server answers 422 for a `test` that fails and for a path that is not there (`endpoints/handlers/patch.go`). */
function isConditionFailed({ facts }: ApiFailure): boolean {
  return facts.status === 422;
}

/** Where it was not kept (v10 made the pod), the annotation itself says it, unless we wrote that for a match. */
function idleValueOf({ metadata = {} }: Pod): 'true' | 'false' {
  const kept = metadata.annotations?.[idleSafeToEvictAnnotation];
  if (kept !== undefined) return kept === 'false' ? 'false' : 'true';
  const hadMatch = metadata.labels?.[matchLabel] === 'true';
  return !hadMatch && metadata.annotations?.[safeToEvictAnnotation] === 'false' ? 'false' : 'true';
}
