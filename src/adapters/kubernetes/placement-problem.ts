import type { PlacementProblem } from '../../ports/runtime';
import type { Pod } from './kubernetes-objects';

/** `ErrReason` of kube-scheduler's plugin NodePorts. */
const noFreePorts = "didn't have free ports for the requested pod ports";
/** NodeResourcesFit: `Insufficient cpu`, `Too many pods`. */
const noResources = /^(Insufficient |Too many pods)/;

/** What is said before kube-scheduler's own words, to people who do not know them. */
export const placementWords: Record<PlacementProblem, string> = {
  host_ports: 'no node has its host ports free',
  resources: 'no node has enough free resources',
  placement: 'no node may run it',
};

/** Why kube-scheduler finds no node for a pod; null when it does not say that. */
export function placementProblem({ status = {} }: Pod): { problem: PlacementProblem; message: string } | null {
  const unmet = status.conditions?.find(({ type, status: state }) => type === 'PodScheduled' && state === 'False');
  if (unmet?.reason !== 'Unschedulable') return null;
  const message = unmet.message ?? '';
  return { problem: problemOf(message), message };
}

/**
 * `0/5 nodes are available: 2 Insufficient cpu, 3 node(s) didn't have free ports for the requested pod ports.`, and after that
 * what preemption could not do. A node is counted for each reason of the first plugin that refused it, so one that lacks ports is
 * counted for nothing else; versions before 1.18 could be told to count it for all. Other ports help where some node lacks only
 * those, or every node lacks them.
 */
function problemOf(message: string): PlacementProblem {
  const [, nodes, told = ''] = /^\d+\/(\d+) nodes are available: (.*?)(?:\.? preemption: .*)?$/s.exec(message) ?? [];
  const reasons = told.split(/, (?=\d+ )/).flatMap((text) => {
    const [, count, reason] = /^(\d+) (.*)$/s.exec(text) ?? [];
    return reason === undefined ? [] : [{ count: Number(count), reason }];
  });
  const total = Number(nodes);
  const withoutPorts = sum(reasons.filter(({ reason }) => reason.includes(noFreePorts)));
  const others = reasons.filter(({ reason }) => !reason.includes(noFreePorts));
  const lacking = others.filter(({ reason }) => noResources.test(reason));
  // One node may lack several resources.
  const least = Math.max(0, ...lacking.map(({ count }) => count)) + sum(others) - sum(lacking);
  const isPortsAlone = withoutPorts + least <= total || sum(others) < total;
  if (withoutPorts > 0 && (withoutPorts >= total || isPortsAlone)) return 'host_ports';
  return lacking.length > 0 ? 'resources' : 'placement';
}

function sum(reasons: readonly { count: number }[]): number {
  return reasons.reduce((total, { count }) => total + count, 0);
}
