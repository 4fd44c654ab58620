import type { DisruptionBudget, Namespace } from './kubernetes-objects';
import { installationLabel, ownerAnnotation, schedulerLabel } from './ownership';

const managedBy = { 'app.kubernetes.io/managed-by': 'maestro' };

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

/** Needs Kubernetes 1.21. It protects nobody until its `minAvailable` is raised. */
export function disruptionBudgetManifest(scheduler: string, installation: string): DisruptionBudget {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name: scheduler, namespace: scheduler, labels: { ...managedBy, [installationLabel]: installation } },
    spec: { minAvailable: 0, selector: { matchLabels: { [schedulerLabel]: scheduler } } },
  };
}
