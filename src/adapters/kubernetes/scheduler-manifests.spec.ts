import { disruptionBudgetManifest, namespaceManifest } from './scheduler-manifests';

describe('namespaceManifest', () => {
  it('says whose it is', () => {
    expect(namespaceManifest('arena', 'operation-1', 'ours')).toEqual({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: {
        name: 'arena',
        labels: { 'app.kubernetes.io/managed-by': 'maestro', 'maestro.io/installation': 'ours' },
        annotations: { 'maestro.io/owner': 'operation-1' },
      },
    });
  });
});

describe('disruptionBudgetManifest', () => {
  it('covers the rooms with a match of this installation, and no others', () => {
    expect(disruptionBudgetManifest('arena', 'ours', 7)).toEqual({
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: {
        name: 'arena',
        namespace: 'arena',
        labels: { 'app.kubernetes.io/managed-by': 'maestro', 'maestro.io/installation': 'ours' },
      },
      spec: {
        minAvailable: 7,
        selector: {
          matchLabels: { 'maestro.io/installation': 'ours', 'maestro-scheduler': 'arena', 'maestro.io/match': 'true' },
        },
      },
    });
  });
});
