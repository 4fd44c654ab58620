import type { KubernetesObject } from './kubernetes-objects';

/** On everything that this Maestro made. What lacks it, or has another, is never changed or deleted. */
export const installationLabel = 'maestro.io/installation';
/** v10's words, by which dashboards and disruption budgets find rooms. */
export const heritageLabel = { key: 'heritage', value: 'maestro' };
export const schedulerLabel = 'maestro-scheduler';
export const versionLabel = 'version';
/** On validation rooms only. */
export const validationLabel = 'maestro.io/validation';
/** `true` on rooms with a match, and on no other: the disruption budget counts them by it. */
export const matchLabel = 'maestro.io/match';

/** On a namespace: the operation that made it. */
export const ownerAnnotation = 'maestro.io/owner';
/** On a namespace of ours that stood before: it is never deleted. */
export const adoptedAnnotation = 'maestro.io/adopted';
/** On a namespace that is nobody's any more: the installation that left it standing, and may take it up again. */
export const letGoAnnotation = 'maestro.io/let-go-by';
/** On a pod: the operation that asked for it. */
export const operationAnnotation = 'maestro.io/operation-id';
/** On a pod: what cluster autoscalers are told while it has no match, `true` or, where its scheduler says so, `false`. */
export const idleSafeToEvictAnnotation = 'maestro.io/idle-safe-to-evict';
/** On a pod: the call that made it, so that a call whose answer was lost knows its own pod. */
export const creationAnnotation = 'maestro.io/creation';
/** On a pod: JSON from `<host port>/<PROTOCOL>` to names that Kubernetes does not allow for ports. */
export const portNamesAnnotation = 'maestro.io/port-names';

export function isOurs(object: KubernetesObject, installation: string): boolean {
  return object.metadata?.labels?.[installationLabel] === installation;
}

/** A pod of ours that is a room: somebody may have put our label on something else. */
export function isOurRoom(object: KubernetesObject, installation: string): boolean {
  return isOurs(object, installation) && object.metadata?.labels?.[heritageLabel.key] === heritageLabel.value;
}

/** The label selector of `isOurRoom`. */
export function roomSelector(installation: string): string {
  return `${heritageLabel.key}=${heritageLabel.value},${installationLabel}=${installation}`;
}

/** Everything that is not this installation's, whether it is somebody's or nobody's. */
export function foreignSelector(installation: string): string {
  return `${installationLabel}!=${installation}`;
}

/** Rooms of any other Maestro, a v10 included. */
export function foreignRoomSelector(installation: string): string {
  return `${heritageLabel.key}=${heritageLabel.value},${foreignSelector(installation)}`;
}
