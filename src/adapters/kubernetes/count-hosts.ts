import type { InstanceSpec } from '../../ports/runtime';
import type { Node } from './kubernetes-objects';

/** What the cluster says of a node's own condition (not ready, out of memory): it passes, and the rooms there keep their ports. */
const passingTaints = 'node.kubernetes.io/';

/** How many nodes could run such an instance, ready or not: those that kube-scheduler considers for the pod of `pod-manifest.ts`. At least 1. */
export function countHosts(
  nodes: Iterable<Pick<Node, 'metadata' | 'spec'>>,
  { affinity, toleration }: Pick<InstanceSpec, 'affinity' | 'toleration'>,
): number {
  let count = 0;
  for (const { metadata, spec } of nodes) {
    if (spec?.unschedulable === true) continue;
    if (affinity !== '' && metadata?.labels?.[affinity] !== 'true') continue;
    if (spec?.taints?.some((taint) => keepsAway(taint, toleration)) === true) continue;
    count++;
  }
  return Math.max(1, count);
}

type Taint = NonNullable<NonNullable<Node['spec']>['taints']>[number];

function keepsAway({ key, value = '', effect }: Taint, toleration: string): boolean {
  if (effect === 'NoExecute') return !key.startsWith(passingTaints);
  if (effect !== 'NoSchedule' || key.startsWith(passingTaints)) return false;
  return toleration === '' || key !== 'dedicated' || value !== toleration;
}
