import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ClusterAccess } from '../../src/adapters/kubernetes/cluster-access';
import { eventually } from './eventually';
import { KubeApiProxy, type ProxiedRequest } from './kube-api-proxy';
import type { KubeMachine } from './kube-machine';

export interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

/** The rights of each role as the chart gives them. */
export function chartRules(): Record<string, Rule[]> {
  const file = join(__dirname, '../../helm/maestro/files/rbac-rules.yaml');
  return parse(readFileSync(file, 'utf8')) as Record<string, Rule[]>;
}

/** Each right as `core/pods: list`, in order. */
export function rightsOf(rules: readonly Rule[]): string[] {
  return rules
    .flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => `${group || 'core'}/${resource}: ${verb}`)),
      ),
    )
    .sort();
}

/**
 * The right that the API server's authorizer asks for (`k8s.io/apiserver/pkg/endpoints/request.RequestInfo`); null for discovery,
 * which everybody may read.
 */
export function rightOf({ method, path, isWatch }: ProxiedRequest): string | null {
  const [, root, ...rest] = path.split('/');
  const group = root === 'api' ? 'core' : (rest.shift() ?? '');
  rest.shift();
  if (rest[0] === 'namespaces' && rest.length > 2) rest.splice(0, 2);
  const [resource, name, subresource] = rest;
  if (resource === undefined) return null;
  const reading = name !== undefined ? 'get' : isWatch ? 'watch' : 'list';
  const verb =
    { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: name === undefined ? 'deletecollection' : 'delete' }[
      method
    ] ?? reading;
  return `${group}/${resource}${subresource === undefined ? '' : `/${subresource}`}: ${verb}`;
}

/** A way to the API server on which one may do what these rules say, and which remembers what was asked. */
export async function openWithRights(
  cluster: { kubeconfig: string },
  machine: KubeMachine,
  user: string,
  rules: readonly Rule[],
): Promise<{ proxy: KubeApiProxy; close(): Promise<void> }> {
  await grant(machine, user, rules);
  const access = await ClusterAccess.open({ kubeconfig: cluster.kubeconfig });
  const proxy = await KubeApiProxy.start(async () => {
    const admin = await access.current();
    return { ...admin, headers: { ...admin.headers, 'impersonate-user': user } };
  });
  proxy.translatesPolicy = (await machine.call('GET', '/apis/policy/v1')).status !== 200;
  return {
    proxy,
    close: async () => {
      await proxy.stop();
      access.close();
    },
  };
}

/** Resolves when the authorizer knows: it learns of rules through a watch of its own. */
async function grant(machine: KubeMachine, user: string, rules: readonly Rule[]): Promise<void> {
  const group = 'rbac.authorization.k8s.io';
  const path = `/apis/${group}/v1`;
  const head = (kind: string) => ({ apiVersion: `${group}/v1`, kind, metadata: { name: user } });
  for (const kind of ['clusterrolebindings', 'clusterroles']) await machine.call('DELETE', `${path}/${kind}/${user}`);
  await machine.call('POST', `${path}/clusterroles`, { ...head('ClusterRole'), rules });
  await machine.call('POST', `${path}/clusterrolebindings`, {
    ...head('ClusterRoleBinding'),
    roleRef: { apiGroup: group, kind: 'ClusterRole', name: user },
    subjects: [{ kind: 'User', apiGroup: group, name: user }],
  });
  for (const { apiGroups, resources, verbs } of rules) {
    for (const verb of verbs) {
      const spec = { user, resourceAttributes: { group: apiGroups[0], resource: resources[0], verb } };
      await eventually(async () => {
        const review = { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec };
        const { body } = await machine.call<{ status: { allowed: boolean } }>(
          'POST',
          '/apis/authorization.k8s.io/v1/subjectaccessreviews',
          review,
        );
        expect(body.status.allowed).toBe(true);
      });
    }
  }
}
