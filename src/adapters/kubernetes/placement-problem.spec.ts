import type { Pod } from './kubernetes-objects';
import { placementProblem } from './placement-problem';

const ports = "node(s) didn't have free ports for the requested pod ports";
const unscheduled = (message?: string, reason = 'Unschedulable'): Pod => ({
  status: {
    phase: 'Pending',
    conditions: [{ type: 'PodScheduled', status: 'False', reason, ...(message === undefined ? {} : { message }) }],
  },
});

describe('placementProblem', () => {
  it.each([
    ['every node lacks the ports', `0/3 nodes are available: 3 ${ports}.`, 'host_ports'],
    [
      'with what preemption could not do',
      `0/3 nodes are available: 3 ${ports}. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.`,
      'host_ports',
    ],
    ['a node that fits else lacks the ports', `0/5 nodes are available: 2 Insufficient cpu, 3 ${ports}.`, 'host_ports'],
    [
      'nodes that lack several resources',
      `0/5 nodes are available: 3 ${ports}, 2 Insufficient cpu, 2 Insufficient memory, 1 Too many pods.`,
      'host_ports',
    ],
    ['beside a taint', `0/2 nodes are available: 1 ${ports}, 1 node(s) had untolerated taint {a: b}.`, 'host_ports'],
    ['every node lacks ports and more', `0/1 nodes are available: 1 Insufficient cpu, 1 ${ports}.`, 'host_ports'],
    [
      'each node that lacks ports lacks resources too',
      `0/3 nodes are available: 3 Insufficient cpu, 2 ${ports}.`,
      'resources',
    ],
    [
      'each node that lacks ports is forbidden too',
      `0/3 nodes are available: 3 node(s) had taint {a: b}, that the pod didn't tolerate, 2 ${ports}.`,
      'placement',
    ],
    ['too little CPU', '0/3 nodes are available: 3 Insufficient cpu.', 'resources'],
    ['too many pods', '0/1 nodes are available: 1 Too many pods.', 'resources'],
    [
      'resources where it may run',
      "0/3 nodes are available: 1 Insufficient memory, 2 node(s) didn't match Pod's node affinity/selector.",
      'resources',
    ],
    [
      'what preemption says of resources',
      '0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are available: 1 Insufficient cpu.',
      'placement',
    ],
    ['no node matches', "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.", 'placement'],
    ['a cluster without nodes', 'no nodes available to schedule pods', 'placement'],
    ['words of another scheduler', 'not today', 'placement'],
    ['no words', undefined, 'placement'],
  ])('reads %s', (_what, message, problem) => {
    expect(placementProblem(unscheduled(message))).toEqual({ problem, message: message ?? '' });
  });

  it.each<[string, Pod]>([
    ['a pod of which nothing is known', {}],
    ['a pod that has a node', { status: { conditions: [{ type: 'PodScheduled', status: 'True' }] } }],
    ['a pod that is held back', unscheduled('waiting', 'SchedulingGated')],
    [
      'another condition',
      { status: { conditions: [{ type: 'Ready', status: 'False', reason: 'Unschedulable', message: 'x' }] } },
    ],
  ])('is none of %s', (_what, pod) => {
    expect(placementProblem(pod)).toBeNull();
  });
});
