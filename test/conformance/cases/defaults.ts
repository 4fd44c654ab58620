import { answers, type ConformanceCase, type ConformanceGroup, type ExpectedMap } from '../conformance-case';
import { sample, sampleAutoscaling, type Changes } from '../sample-scheduler';
import { aScheduler, postsTo } from './steps';

/** What the answer to a creation shows of what was asked. */
const shows = (
  says: string,
  changes: Changes,
  scheduler: ExpectedMap,
  more: Partial<ConformanceCase> = {},
): ConformanceCase => ({
  says,
  ...more,
  steps: [answers('CreateScheduler', sample(changes), { scheduler })],
});

const downThreshold = (roomOccupancy: { readyTarget: number; downThreshold?: number }): Changes => ({
  autoscaling: { ...sampleAutoscaling, policy: { type: 'roomOccupancy', parameters: { roomOccupancy } } },
});
const shownThreshold = (value: number): ExpectedMap => ({
  autoscaling: { policy: { parameters: { roomOccupancy: { downThreshold: value } } } },
});
const exactFloats =
  'v10 stores a 32-bit float (0.9900000095367432). Answers are the same; here the input of operations shows what was typed, too.';
const withVariable = (variable: Changes[string]): Changes => ({ 'spec.containers[0].environment': [variable ?? {}] });
const showsVariable = (variable: ExpectedMap): ExpectedMap => ({
  spec: { containers: [{ environment: [variable] }] },
});

const ownRange: Changes = {
  portRange: undefined,
  'spec.containers[0].ports[0].hostPortRange': { start: 40000, end: 41000 },
};

export const defaults: readonly ConformanceGroup[] = [
  {
    section: '2.2',
    title: 'Defaults',
    cases: [
      shows(
        'gives a new scheduler the version v1.0.0, whatever it asks for',
        { 'spec.version': 'v7.0.0' },
        { spec: { version: 'v1.0.0' } },
      ),
      shows('answers a creation with the state creating', {}, { state: 'creating' }),
      shows('takes Never for an absent restart policy', {}, { spec: { restartPolicy: 'Never' } }),
      shows(
        'takes Never for an empty restart policy',
        { 'spec.restartPolicy': '' },
        { spec: { restartPolicy: 'Never' } },
      ),
      {
        says: 'keeps a restart policy, and does not check it',
        differs: 'v10 answers with it and forgets it: it is not stored.',
        steps: [
          answers('CreateScheduler', sample({ 'spec.restartPolicy': 'Sometimes' }), {
            scheduler: { spec: { restartPolicy: 'Sometimes' } },
          }),
          answers(
            'GetScheduler',
            { schedulerName: '{scheduler}' },
            { scheduler: { spec: { restartPolicy: 'Sometimes' } } },
          ),
        ],
      },
      shows('gives a room one match', {}, { matchAllocation: { maxMatches: 1 } }),
      shows('takes 0.99 for an absent down threshold', downThreshold({ readyTarget: 0.5 }), shownThreshold(0.99), {
        differs: exactFloats,
      }),
      shows(
        'takes 0.99 for a down threshold of 0',
        downThreshold({ readyTarget: 0.5, downThreshold: 0 }),
        shownThreshold(0.99),
      ),
      shows(
        'gives a forwarder without options 1000 ms and no metadata',
        { forwarders: [{ name: 'f', type: 'gRPC', address: 'f:80' }] },
        { forwarders: [{ enable: false, options: { timeout: '1000', metadata: {} } }] },
      ),
      shows('has no port range where none is given', ownRange, {
        portRange: null,
      }),
      shows(
        "takes a variable's value before its sources, even an empty one",
        withVariable({ name: 'A', value: '', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } }),
        { spec: { containers: [{ environment: [{ name: 'A' }] }] } },
      ),
      shows(
        'takes a secret before a field',
        withVariable({
          name: 'A',
          valueFrom: { fieldRef: { fieldPath: 'status.hostIP' }, secretKeyRef: { name: 's', key: 'k' } },
        }),
        showsVariable({ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }),
      ),
      shows(
        'takes a field where there is nothing else',
        withVariable({ name: 'A', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } }),
        showsVariable({ name: 'A', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } }),
      ),
      shows(
        'echoes a host port, which is drawn anew for each room',
        { 'spec.containers[0].ports[0].hostPort': 4242 },
        {
          spec: { containers: [{ ports: [{ hostPort: 4242 }] }] },
        },
      ),
      {
        says: 'replaces the whole definition with a new version: what is omitted takes its default',
        steps: [
          ...aScheduler({
            roomsReplicas: 0,
            matchAllocation: { maxMatches: 4 },
            'spec.toleration': 'games',
            annotations: { a: 'b' },
            labels: { c: 'd' },
            autoscaling: sampleAutoscaling,
            'spec.restartPolicy': 'Always',
          }),
          ...postsTo('v2.0.0', { game: '{game}-2' }),
          answers(
            'GetScheduler',
            { schedulerName: '{scheduler}', version: 'v2.0.0' },
            {
              scheduler: {
                game: '{game}-2',
                matchAllocation: { maxMatches: 1 },
                annotations: {},
                labels: {},
                spec: { toleration: '', restartPolicy: 'Never', containers: [{ name: 'room' }] },
              },
            },
          ),
        ],
      },
      {
        says: 'takes an absent port range of a new version as none, so that schedulers with a range for each port have new versions',
        differs: 'v10 makes it a range of 0 to 0, which is invalid.',
        steps: [...aScheduler(ownRange), ...postsTo('v1.1.0', { ...ownRange, maxSurge: '20%' })],
      },
    ],
  },
];
