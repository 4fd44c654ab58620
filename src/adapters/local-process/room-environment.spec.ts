import type { ContainerEnvironment } from '../../domain/scheduler/scheduler';
import { parseStat } from './process-table';
import { composeRoomEnvironment, expandReferences, pickBaseEnvironment, portVariable } from './room-environment';

function compose(environment: ContainerEnvironment[], secrets: Record<string, string> = {}): Record<string, string> {
  return composeRoomEnvironment({
    spec: {
      id: 'arena-1',
      scheduler: 'arena',
      version: 'v1.2.0',
      labels: { region: 'eu', version: 'mine' },
      annotations: { 'example.com/team': 'blue' },
    },
    container: {
      name: 'room',
      environment,
      ports: [{ name: 'clientPort', protocol: 'udp', port: 7777, hostPort: 23417 }],
    },
    surroundings: {
      baseEnvironment: { PATH: '/bin', LANG: 'C' },
      workingDirectory: '/',
      host: '127.0.0.1',
      roomsApiUrl: 'http://127.0.0.1:8070',
      roomsGrpcAddress: '127.0.0.1:50052',
    },
    hostname: 'workbench',
    marker: 'abc',
    instanceText: '{}',
    readSecret: (name, key) => secrets[`${name}/${key}`] ?? null,
  });
}

const field = (fieldPath: string) => ({ name: 'X', valueFrom: { fieldRef: { fieldPath } } });

describe('composeRoomEnvironment', () => {
  it.each([
    ['a plain value', { name: 'X', value: 'a b' }, 'a b'],
    ['a variable with nothing', { name: 'X' }, ''],
    ['the room id', field('metadata.name'), 'arena-1'],
    ['the scheduler', field('metadata.namespace'), 'arena'],
    ['the host ip', field('status.hostIP'), '127.0.0.1'],
    ['the pod ip', field('status.podIP'), '127.0.0.1'],
    ['the node', field('spec.nodeName'), 'workbench'],
    ['a label', field("metadata.labels['region']"), 'eu'],
    ['a label of ours, which wins', field("metadata.labels['version']"), 'v1.2.0'],
    ['a label that is not there', field("metadata.labels['none']"), ''],
    ['an annotation', field("metadata.annotations['example.com/team']"), 'blue'],
    ['a secret', { name: 'X', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }, 'hidden'],
    [
      'a value beside a secret, which loses',
      { name: 'X', value: 'open', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
      'open',
    ],
  ])('resolves %s', (_what, variable, expected) => {
    expect(compose([variable], { 's/k': 'hidden' })['X']).toBe(expected);
  });

  it("lets the user change the base but not Maestro's own variables", () => {
    const names = ['LANG', 'MAESTRO_ROOM_ID', 'MAESTRO_PORT_CLIENTPORT', 'MAESTRO_LOCAL_RUNTIME'];
    expect(compose(names.map((name) => ({ name, value: 'mine' })))).toMatchObject({
      PATH: '/bin',
      LANG: 'mine',
      MAESTRO_SCHEDULER_NAME: 'arena',
      MAESTRO_ROOM_ID: 'arena-1',
      MAESTRO_ROOMS_API_URL: 'http://127.0.0.1:8070',
      MAESTRO_ROOMS_GRPC_ADDRESS: '127.0.0.1:50052',
      MAESTRO_PORT_CLIENTPORT: '23417',
      MAESTRO_LOCAL_RUNTIME: 'abc',
    });
  });

  it('refers to variables that came before', () => {
    const environment = compose([
      { name: 'LATE', value: '$(HOST)' },
      { name: 'HOST', value: 'game' },
      { name: 'URL', value: 'udp://$(HOST):1' },
    ]);
    expect(environment).toMatchObject({ LATE: '$(HOST)', URL: 'udp://game:1' });
  });

  it('fails with the name of a missing secret', () => {
    expect(() => compose([{ name: 'X', valueFrom: { secretKeyRef: { name: 'x', key: 'y' } } }])).toThrow(
      'CreateContainerConfigError: secret "x" key "y" not found',
    );
  });
});

describe('expandReferences', () => {
  it.each([
    ['no reference', 'a $b {c}', 'a $b {c}'],
    ['a reference', '$(A)-$(A)', '1-1'],
    ['an unknown one', '$(B)', '$(B)'],
    ['an escaped one', '$$(A)', '$(A)'],
    ['a doubled sign', 'pid $$', 'pid $'],
    ['a shell substitution', '$(date +%s)', '$(date +%s)'],
    ['one that is never closed', '$(A', '$(A'],
    ['a name of every object', '$(constructor)', '$(constructor)'],
  ])('keeps or replaces %s', (_what, text, expected) => {
    expect(expandReferences(text, { A: '1' })).toBe(expected);
  });
});

describe('pickBaseEnvironment', () => {
  it('takes the fixed names and nothing of Maestro', () => {
    expect(
      pickBaseEnvironment({
        PATH: '/bin',
        HOME: '/root',
        MAESTRO_POSTGRES_URL: 'x',
        NODE_OPTIONS: '',
        LANG: undefined,
      }),
    ).toEqual({ PATH: '/bin', HOME: '/root' });
  });
});

describe('portVariable', () => {
  it.each([
    ['clientPort', 'MAESTRO_PORT_CLIENTPORT'],
    ['game-udp', 'MAESTRO_PORT_GAME_UDP'],
    ['query.2', 'MAESTRO_PORT_QUERY_2'],
  ])('of %s is %s', (name, variable) => {
    expect(portVariable(name)).toBe(variable);
  });
});

describe('parseStat', () => {
  it('is not misled by a name with brackets and spaces', () => {
    const rest = 'S 1 42 43 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 987654 0 0';
    expect(parseStat(`42 (a) Z 1 (b) ${rest}`)).toEqual({ state: 'S', group: 42, session: 43, startTicks: '987654' });
  });
});
