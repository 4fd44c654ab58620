import { silentImage } from '../../support/pretend-names';
import { answers, patterns, type ConformanceCase, type ConformanceGroup, type JsonMap } from '../conformance-case';
import { sample, sampleAutoscaling, sampleContainer, sampleForwarder, type Changes } from '../sample-scheduler';
import { aScheduler, ends, is, isActive, patchesTo, postsTo, switchesTo } from './steps';

const container = 'spec.containers[0]';
const port = `${container}.ports[0]`;
const query = { name: 'query', protocol: 'udp', port: 7778 };
const side = sampleContainer({ name: 'side', ports: [] });
const room = sampleContainer();

const becomes =
  (version: string, says: string) =>
  (what: string, changes: Changes, before: Changes = {}, differs?: string): ConformanceCase => ({
    says: `${says} ${what}`,
    ...(differs === undefined ? {} : { differs }),
    steps: [...aScheduler(before), ...postsTo(version, { ...before, ...changes })],
  });
const major = becomes('v2.0.0', 'makes a major version of');
const minor = becomes('v1.1.0', 'makes a minor version of');

const perContainer =
  'v10 compares ports of all containers as one list by name, and takes a port that is gone or moved for no change.';
const nilAndEmpty = 'v10 takes empty and missing for different, and makes a major version.';
const order: JsonMap[] = [
  { name: 'A', value: '1' },
  { name: 'B', value: '2' },
];
const otherForwarder: JsonMap = { ...sampleForwarder, name: 'analytics' };

export const versions: readonly ConformanceGroup[] = [
  {
    section: '2.5',
    title: 'Versions: numbering',
    cases: [
      {
        says: 'numbers minor versions within their major, and majors above all there are, also after a switch back',
        steps: [
          ...aScheduler(),
          isActive('v1.0.0'),
          ...postsTo('v1.1.0', { maxSurge: '20%' }),
          ...postsTo('v2.0.0', { maxSurge: '20%', [`${container}.image`]: 'room:2' }),
          ...switchesTo('v1.0.0'),
          ...postsTo('v1.2.0', { maxSurge: '30%' }),
          ...postsTo('v3.0.0', { maxSurge: '30%', [`${container}.image`]: 'room:3' }),
          ...postsTo('v3.1.0', { maxSurge: '40%', [`${container}.image`]: 'room:3' }),
          answers(
            'GetSchedulerVersions',
            { schedulerName: '{scheduler}' },
            {
              versions: [
                { version: 'v3.1.0', isActive: true },
                { version: 'v3.0.0', isActive: false },
                { version: 'v1.2.0', isActive: false },
                { version: 'v2.0.0', isActive: false },
                { version: 'v1.1.0', isActive: false },
                { version: 'v1.0.0', isActive: false },
              ],
            },
          ),
        ],
      },
      {
        says: 'gives no version a number twice after a switch back to an older minor',
        steps: [
          ...aScheduler(),
          ...patchesTo('v1.1.0', { maxSurge: '20%' }),
          ...switchesTo('v1.0.0'),
          ...patchesTo('v1.2.0', { maxSurge: '30%' }),
        ],
      },
      {
        says: 'makes a new version of a switched-to one from what that says',
        steps: [
          ...aScheduler(),
          ...patchesTo('v1.1.0', { maxSurge: '20%', roomsReplicas: 0 }),
          ...switchesTo('v1.0.0'),
          is({ maxSurge: '10%' }),
          ...patchesTo('v1.2.0', { matchAllocation: { maxMatches: 2 } }),
          is({ maxSurge: '10%', matchAllocation: { maxMatches: 2 } }),
        ],
      },
      {
        says: 'numbers a version when it is made, not when it is asked for: the answer is an operation, which first shows the active version',
        steps: [
          ...aScheduler(),
          answers(
            'NewSchedulerVersion',
            sample({ [`${container}.image`]: silentImage }),
            { operationId: patterns.uuid },
            { keep: { change: 'operationId' } },
          ),
          answers(
            'GetOperation',
            { schedulerName: '{scheduler}', operationId: '{change}' },
            {
              operation: {
                definitionName: 'create_new_scheduler_version',
                input: { scheduler: { Name: '{scheduler}', Spec: { Version: 'v1.0.0' } } },
              },
            },
          ),
        ],
      },
    ],
  },
  {
    section: '2.5',
    title: 'Versions: what is major',
    cases: [
      major("a container's name", { [`${container}.name`]: 'room-2' }),
      major('an image', { [`${container}.image`]: 'room:2' }),
      major('a pull policy', { [`${container}.imagePullPolicy`]: 'Never' }),
      major('a command', { [`${container}.command`]: ['./room'] }),
      major('an environment', { [`${container}.environment`]: [{ name: 'A', value: '1' }] }),
      major('requests', { [`${container}.requests.cpu`]: '5m' }),
      major('limits', { [`${container}.limits.memory`]: '40Mi' }),
      major("a port's name", { [`${port}.name`]: 'udp' }),
      major("a port's number", { [`${port}.port`]: 7000 }),
      major("a port's protocol", { [`${port}.protocol`]: 'tcp' }),
      major(
        "a port's own range",
        { [`${port}.hostPortRange`]: { start: 40000, end: 42000 } },
        { portRange: undefined, [`${port}.hostPortRange`]: { start: 40000, end: 41000 } },
      ),
      major('another port', { [`${container}.ports[1]`]: query }),
      major(
        'a port that is gone',
        { [`${container}.ports`]: room['ports'] },
        { [`${container}.ports[1]`]: query },
        perContainer,
      ),
      major(
        'a port that moved to another container',
        {
          'spec.containers': [
            { ...room, ports: [] },
            { ...side, ports: room['ports']! },
          ],
        },
        { 'spec.containers': [room, side] },
        perContainer,
      ),
      major('another container', { 'spec.containers[1]': side }),
      major('a container that is gone', { 'spec.containers': [room] }, { 'spec.containers': [room, side] }),
      major('the order of containers', { 'spec.containers': [side, room] }, { 'spec.containers': [room, side] }),
      major(
        'the order of variables',
        { [`${container}.environment`]: [...order].reverse() },
        { [`${container}.environment`]: order },
      ),
      major('the grace period', { 'spec.terminationGracePeriod': '99s' }),
      major('the toleration', { 'spec.toleration': 'games' }),
      major('the affinity', { 'spec.affinity': 'games' }),
      major(
        'the restart policy',
        { 'spec.restartPolicy': 'Always' },
        {},
        'v10 does not store the policy, so that every POST is a major version.',
      ),
      major('the port range', { portRange: { start: 40000, end: 50000 } }),
      major(
        'a port range in place of a range for each port',
        { portRange: { start: 40000, end: 41000 }, [`${port}.hostPortRange`]: undefined },
        { portRange: undefined, [`${port}.hostPortRange`]: { start: 40000, end: 41000 } },
      ),
      major('a first forwarder', { forwarders: [sampleForwarder] }),
      major(
        'a forwarder that is switched off',
        { forwarders: [{ ...sampleForwarder, enable: false }] },
        { forwarders: [sampleForwarder] },
      ),
      major(
        'the order of forwarders',
        { forwarders: [otherForwarder, sampleForwarder] },
        { forwarders: [sampleForwarder, otherForwarder] },
      ),
      major('annotations', { annotations: { team: 'arena' } }),
      major('labels', { labels: { tier: 'test' } }),
    ],
  },
  {
    section: '2.5',
    title: 'Versions: what is minor',
    cases: [
      minor('the surge', { maxSurge: '20%' }),
      minor('the number of rooms', { roomsReplicas: 1 }),
      minor('autoscaling', { autoscaling: sampleAutoscaling }),
      minor('the matches of a room', { matchAllocation: { maxMatches: 3 } }),
      minor('the game', { game: '{game}-2' }),
      minor('a host port', { [`${port}.hostPort`]: 40001 }),
      minor(
        'the order of the ports of one container',
        { [`${container}.ports`]: [query, ...(room['ports'] as JsonMap[])] },
        { [`${container}.ports[1]`]: query },
      ),
      minor(
        'the same definition again',
        {},
        {},
        'v10 forgets the restart policy, so that every POST is a major version.',
      ),
      minor('an empty map in place of none', { annotations: {}, labels: {} }, {}, nilAndEmpty),
      minor('Never in place of no restart policy', { 'spec.restartPolicy': 'Never' }),
      minor('an empty command in place of none', { [`${container}.command`]: [], forwarders: [] }, {}, nilAndEmpty),
    ],
  },
  {
    section: '2.4',
    title: 'States',
    cases: [
      {
        says: 'is creating until its operation has set it up, then in-sync',
        steps: [
          answers('CreateScheduler', sample(), { scheduler: { state: 'creating' } }),
          answers(
            'GetScheduler',
            { schedulerName: '{scheduler}' },
            { scheduler: { state: 'in-sync' } },
            { eventually: true },
          ),
        ],
      },
      {
        says: 'is creating, in the active version, while a new version is made, and in-sync again when that is given up',
        steps: [
          ...aScheduler(),
          answers(
            'PatchScheduler',
            { name: '{scheduler}', spec: { containers: [{ image: silentImage }] } },
            {},
            { keep: { change: 'operationId' } },
          ),
          answers(
            'GetScheduler',
            { schedulerName: '{scheduler}' },
            { scheduler: { state: 'creating', spec: { version: 'v1.0.0' } } },
            { eventually: true },
          ),
          answers('CancelOperation', { schedulerName: '{scheduler}', operationId: '{change}' }, {}),
          ends('{change}', 'canceled'),
          is({ state: 'in-sync', spec: { version: 'v1.0.0', containers: [{ image: 'room:1' }] } }),
        ],
      },
      {
        says: 'is terminating from the moment that its deletion was accepted',
        differs: 'v10 leaves the state as it is until the scheduler is gone.',
        steps: [
          answers('CreateScheduler', sample({ name: '{stuck}' }), {}, { given: 'a scheduler that is never set up' }),
          answers('DeleteScheduler', { schedulerName: '{stuck}' }, {}),
          answers('GetScheduler', { schedulerName: '{stuck}' }, { scheduler: { state: 'terminating' } }),
        ],
      },
    ],
  },
];
