import type { DisruptionBudget, Namespace } from './kubernetes-objects';
import { installationLabel, matchLabel, ownerAnnotation, schedulerLabel } from './ownership';

/** v10's, on what it makes for a scheduler. */
export const managedBy = { 'app.kubernetes.io/managed-by': 'maestro' };

/** The place of a scheduler's pods. */
export function namespaceManifest(scheduler: string, owner: string, installation: string): Namespace {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name: scheduler,
      labels: { ...managedBy, [installationLabel]: installation },
      annotations: { [ownerAnnotation]: owner },
    },
  };
}

/**
 * How many rooms with a match must stay up when nodes are drained: all of them. Only they are in it, so that idle rooms may go;
 * v10's selects every room, protects idle ones as much, and lets one of twenty go, with its match or without. A whole number, because
 * pods without a controller have no size to take a share of, and no `maxUnavailable`
 * (https://kubernetes.io/docs/tasks/run-application/configure-pdb/#arbitrary-controllers-and-selectors). Needs Kubernetes 1.21.
 */
export function disruptionBudgetManifest(
  scheduler: string,
  installation: string,
  minAvailable: number,
): DisruptionBudget & { spec: object } {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name: scheduler, namespace: scheduler, labels: { ...managedBy, [installationLabel]: installation } },
    spec: {
      minAvailable,
      // Ours alone: pods of another installation with these labels in this namespace would count as rooms that stay up.
      selector: {
        matchLabels: { [installationLabel]: installation, [schedulerLabel]: scheduler, [matchLabel]: 'true' },
      },
    },
  };
}
