/**
 * Kubernetes' objects as JSON on the wire, and of them only what is read or written here. The client library's classes would
 * turn dates into `Date` and copy each object; a watch of a large fleet would pay for both.
 */

export interface ObjectMeta {
  name?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

export interface KubernetesObject {
  apiVersion?: string;
  kind?: string;
  metadata?: ObjectMeta;
}

export interface ObjectList<T extends KubernetesObject> {
  metadata?: { resourceVersion?: string; continue?: string };
  items: T[];
}

export interface Namespace extends KubernetesObject {
  status?: { phase?: string };
}

export interface EnvVar {
  name: string;
  value?: string;
  valueFrom?: { secretKeyRef?: { name: string; key: string }; fieldRef?: { fieldPath: string } };
}

export interface ContainerPort {
  name?: string;
  protocol?: string;
  containerPort: number;
  hostPort?: number;
}

export interface PodContainer {
  name: string;
  image: string;
  imagePullPolicy?: string;
  command?: string[];
  env?: EnvVar[];
  ports?: ContainerPort[];
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
}

export interface ContainerState {
  waiting?: { reason?: string; message?: string };
  running?: { startedAt?: string };
  terminated?: { reason?: string; message?: string; exitCode?: number; finishedAt?: string };
}

export interface ContainerStatus {
  name: string;
  state?: ContainerState;
  /** How it ended before it was started again. */
  lastState?: ContainerState;
  restartCount?: number;
}

export interface Pod extends KubernetesObject {
  spec?: {
    nodeName?: string;
    containers?: PodContainer[];
    restartPolicy?: string;
    terminationGracePeriodSeconds?: number;
    automountServiceAccountToken?: boolean;
    tolerations?: { key: string; operator: string; value: string; effect: string }[];
    affinity?: object;
    topologySpreadConstraints?: object[];
  };
  status?: {
    phase?: string;
    reason?: string;
    message?: string;
    startTime?: string;
    hostIP?: string;
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
    containerStatuses?: ContainerStatus[];
  };
}

export interface Node extends KubernetesObject {
  spec?: {
    unschedulable?: boolean | undefined;
    taints?: { key: string; value?: string; effect: string }[] | undefined;
  };
  status?: { addresses?: { type: string; address: string }[] };
}

export interface DisruptionBudget extends KubernetesObject {
  spec?: {
    minAvailable?: number | string;
    maxUnavailable?: number | string;
    selector?: { matchLabels?: Record<string, string> };
  };
}

export interface CoreEvent extends KubernetesObject {
  involvedObject: { apiVersion: string; kind: string; namespace: string; name: string; uid?: string };
  type: string;
  reason: string;
  message: string;
  source: { component: string };
  firstTimestamp: string;
  lastTimestamp: string;
  count: number;
}

/** How the API server says that a call failed, and what a watch sends as `ERROR`. */
export interface Status {
  kind?: string;
  code?: number;
  reason?: string;
  message?: string;
  details?: {
    name?: string;
    kind?: string;
    retryAfterSeconds?: number;
    causes?: { reason?: string; message?: string; field?: string }[];
  };
}

export interface WatchEvent<T extends KubernetesObject> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: T;
}
