import {
  endReason,
  failureReason,
  isOutsideReason,
  lacksHostPort,
  restartReason,
  wordsOfUnaskedEnd,
  type FailureReason,
} from './failure-reason';
import type { ContainerEnd, InstanceStatus } from './room';

const said = (
  status: InstanceStatus,
  description = '',
  placementProblem: 'host_ports' | 'resources' | 'placement' | null = null,
) => failureReason({ status, description, placementProblem });

describe('why an instance failed', () => {
  it.each<[string, FailureReason]>([
    ['ErrImagePull: rpc error: not found', 'image_pull'],
    ['ImagePullBackOff: Back-off pulling image "game:1"', 'image_pull'],
    ['ErrImageNeverPull', 'image_pull'],
    ['ErrImagePullBackOff', 'image_pull'],
    ['InvalidImageName: couldn’t parse', 'image_pull'],
    ['ErrInvalidImageName', 'image_pull'],
    ['ImageInspectError', 'image_pull'],
    ['RegistryUnavailable', 'image_pull'],
    ['SignatureValidationFailed', 'image_pull'],
    ['CreateContainerConfigError: secret "keys" not found', 'config'],
    ['CreateContainerError: container "room" in /srv: spawn ENOENT', 'config'],
    ['RunContainerError: exec: "./game": no such file', 'config'],
    ['PreCreateHookError', 'config'],
    ['PreStartHookError', 'config'],
    ['PostStartHookError', 'config'],
    ['ContainerCannotRun', 'config'],
    ['StartError', 'config'],
    ['CrashLoopBackOff: back-off 10s restarting failed container=room', 'crash_loop'],
    ['CrashLoopBackOff: container "room" ended with code 1: back-off 10s', 'crash_loop'],
    ['CrashLoopBackOff: container "room" ended with code 137 (OOMKilled): back-off 10s', 'oom_killed'],
    ['CrashLoopBackOff: container "room" ended with code 1: it wrote (OOMKilled)', 'crash_loop'],
    ['OOMKilled', 'oom_killed'],
    ['PodFailed: container "room" ended with code 137 (OOMKilled)', 'oom_killed'],
    ['Error', 'exit'],
    ['PodFailed: container "room" ended with code 3: panic', 'exit'],
    ['container "room" exited with code 1', 'exit'],
    ['container "room" killed by SIGKILL', 'exit'],
    ['PodFailed: Evicted: The node was low on resource: memory', 'evicted'],
    ['PodFailed: evicted: its node needs the room, or shuts down: TerminationByKubelet', 'evicted'],
    ['PodFailed: Preempting: Preempted in order to admit critical pod', 'evicted'],
    ['PodFailed: Terminated: Pod was terminated in response to imminent node shutdown.', 'node_lost'],
    ['PodFailed: NodeLost: Node node-1 which was running the pod is unresponsive', 'node_lost'],
    ['PodUnknown', 'node_lost'],
    ['ContainerStatusUnknown: The container could not be located', 'node_lost'],
    ['PodFailed: NodePorts: Pod Predicate NodePorts failed', 'unschedulable_host_ports'],
    ['PodFailed: OutOfcpu: Node didn’t have enough resource: cpu', 'unschedulable_resources'],
    ['PodFailed: NodeAffinity: Predicate NodeAffinity failed', 'unschedulable_placement'],
    ['PodFailed', 'other'],
    ['UnexpectedPodPhase: Dreaming', 'other'],
    ['', 'other'],
  ])('is of %j: %s', (description, reason) => expect(said('error', description)).toBe(reason));

  it.each(['host_ports', 'resources', 'placement'] as const)('is, while it waits for a machine, its %s', (problem) => {
    expect(said('pending', 'Unschedulable: 0/3 nodes are available', problem)).toBe(`unschedulable_${problem}`);
  });

  it.each<[string, FailureReason | null]>([
    ['deleted by someone else, not by this Maestro', 'deleted'],
    ['evicted: a pod of higher priority takes its place: PreemptionByScheduler', 'evicted'],
    ['evicted: its node is gone: DeletionByPodGC', 'node_lost'],
    ["disowned: its labels were changed by someone else, so that it is not this Maestro's any more", 'disowned'],
    ['PodSucceeded', null],
    ['', null],
  ])('is, where somebody else ended it and %j is said: %s', (description, reason) => {
    expect(endReason(description)).toBe(reason);
  });

  it.each([
    ['', 'deleted by someone else, not by this Maestro'],
    ['Unschedulable: no node may run it', 'deleted by someone else, not by this Maestro'],
    ['evicted: its node was tainted', 'evicted: its node was tainted'],
  ])('is said, of what said %j before somebody ended it, as %j', (description, words) => {
    expect(wordsOfUnaskedEnd(description)).toBe(words);
  });

  const end: ContainerEnd = { container: 'room', exitCode: 3, reason: 'Error', atMs: null };
  it.each<[string, ContainerEnd | null, FailureReason | null]>([
    ['an error', end, 'exit'],
    ['too little memory', { ...end, exitCode: 137, reason: 'OOMKilled' }, 'oom_killed'],
    ['too little memory, whatever its code', { ...end, exitCode: 0, reason: 'OOMKilled' }, 'oom_killed'],
    ['its own end', { ...end, exitCode: 0, reason: 'Completed' }, null],
    ['what nobody remembers', null, null],
  ])('is, of a container that was started again after %s: %s%s', (_what, lastEnd, reason) => {
    expect(restartReason({ count: 1, lastEnd })).toBe(reason);
    expect(restartReason(undefined)).toBeNull();
  });

  it.each<InstanceStatus>(['unknown', 'pending', 'ready', 'terminating'])('is nothing while it is %s', (status) => {
    expect(said(status, 'CrashLoopBackOff')).toBeNull();
  });
});

describe('what lacks a host port', () => {
  it.each([
    [
      'Host port range 7-8 has no UDP port left for port "port-0" of container "game": each of its 2 numbers is taken',
      true,
    ],
    ["Unschedulable: no node has its host ports free: 0/3 nodes are available: 3 node(s) didn't have free ports", true],
    ['PodFailed: NodePorts: Predicate NodePorts failed', true],
    ['Unschedulable: no node has what it requests: 0/3 nodes are available: 3 Insufficient cpu', false],
    ['container "room" exited with code 1: no free host port', false],
    ['', false],
  ])('%j: %j', (description, expected) => {
    expect(lacksHostPort(description)).toBe(expected);
  });
});

describe('what lies outside of a room', () => {
  it.each<[string, boolean]>([
    ['PodFailed: Evicted: The node was low on resource: memory', true],
    ['PodFailed: evicted: its node was tainted: DeletionByTaintManager', true],
    ['evicted: its node is gone: DeletionByPodGC', true],
    ['PodFailed: NodeShutdown: Pod was terminated in response to imminent node shutdown.', true],
    ['PodUnknown', true],
    ['deleted by someone else, not by this Maestro', true],
    ['disowned: its label was taken off', true],
    ['PodFailed: container "room" ended with code 137 (OOMKilled)', false],
    ['CrashLoopBackOff: back-off 5m0s', false],
    ['ErrImagePull: not found', false],
    ['container "room" exited with code 1: evicted: says the game', false],
    ['Host port range 7-8 has no UDP port left', false],
    ['', false],
  ])('%j: %j', (description, expected) => {
    expect(isOutsideReason(description)).toBe(expected);
  });
});
