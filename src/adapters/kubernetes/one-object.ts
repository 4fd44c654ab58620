import { ApiFailure } from './api-failure';
import type { KubernetesApi } from './kubernetes-api';
import type { KubernetesObject } from './kubernetes-objects';

/** Where single objects are found, and what all of them have in common. Names are checked before. */
export function namespacePath(name: string): string {
  return `/api/v1/namespaces/${name}`;
}

export function podsPath(scheduler?: string): string {
  return scheduler === undefined ? '/api/v1/pods' : `${namespacePath(scheduler)}/pods`;
}

export function podPath(scheduler: string, id: string): string {
  return `${podsPath(scheduler)}/${id}`;
}

export function isGoing({ metadata }: KubernetesObject): boolean {
  return metadata?.deletionTimestamp !== undefined;
}

export function isAlreadyExists(error: unknown): boolean {
  return error instanceof ApiFailure && error.facts.status === 409 && error.facts.reason === 'AlreadyExists';
}

/** Null where there is none. @throws ApiFailure any other. */
export async function orNull<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof ApiFailure && error.isNotFound) return null;
    throw error;
  }
}

/** Deletes the object that was looked at, and no other that got its name since. @throws ApiFailure */
export async function deleteExactly(
  api: Pick<KubernetesApi, 'call'>,
  path: string,
  { metadata }: KubernetesObject,
): Promise<'deleting' | 'not_found'> {
  try {
    await api.call({ method: 'DELETE', path, body: { preconditions: { uid: metadata?.uid } } });
    return 'deleting';
  } catch (error) {
    if (error instanceof ApiFailure && error.isNotFound) return 'not_found';
    // A namespace that somebody else began to delete meanwhile answers so too.
    if (!(error instanceof ApiFailure) || error.facts.status !== 409) throw error;
    const now = await orNull(api.call<KubernetesObject>({ method: 'GET', path }));
    if (now === null || now.metadata?.uid !== metadata?.uid) return 'not_found';
    if (isGoing(now)) return 'deleting';
    throw error;
  }
}
