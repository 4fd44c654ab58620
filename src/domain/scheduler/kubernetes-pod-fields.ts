import { isAnnotationKey, isLabelKey } from './kubernetes-names';

/** What of its pod a variable can hold, for people. `spec.host` is an old word for the node's name that servers still take. */
export const podFields: readonly string[] = [
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
  "metadata.labels['<KEY>']",
  "metadata.annotations['<KEY>']",
];

/**
 * Whether a variable can be set from this field of its pod (`k8s.io/kubernetes/pkg/apis/core/validation`,
 * `validEnvDownwardAPIFieldPathExpressions`). Servers before 1.28 lack `status.hostIPs`.
 */
export function isPodField(path: string): boolean {
  const [, map, key = ''] = /^metadata\.(labels|annotations)\['(.*)'\]$/s.exec(path) ?? [];
  if (map !== undefined) return map === 'labels' ? isLabelKey(key) : isAnnotationKey(key);
  return path === 'spec.host' || (podFields.includes(path) && !path.endsWith(']'));
}
