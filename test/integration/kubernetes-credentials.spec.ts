import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isRefusal } from '../../src/features/operations/refusals';
import { eventually } from '../support/eventually';
import { describeOnKubernetes } from '../support/kube-control-plane';
import { KubeRooms, openKubeCluster, type KubeCluster } from '../support/kube-rooms';

describeOnKubernetes('credentials for Kubernetes', (source) => {
  let cluster: KubeCluster;
  let rooms: KubeRooms;
  let folder: string;
  const file = (name: string): string => join(folder, name);

  beforeAll(async () => {
    cluster = await openKubeCluster(source);
  }, 180_000);
  afterAll(() => cluster?.stop());

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'maestro-credentials-'));
    rooms = await KubeRooms.open(cluster);
  });
  afterEach(async () => {
    await rooms.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  const clientOf = async (user: object, options: { callDeadlineMs?: number } = {}) => {
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      clusters: [{ name: 'test', cluster: { server: rooms.proxy.url } }],
      users: [{ name: 'maestro', user }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'maestro' } }],
    };
    writeFileSync(file('kubeconfig'), JSON.stringify(config));
    return rooms.client({ cluster: { kubeconfig: file('kubeconfig') }, ...options });
  };

  const saidOfServer = () => rooms.log.lines.filter(({ message }) => message.startsWith('the API server'));

  /** A program such as `aws eks get-token`, that says that its token is good for an hour. */
  const writePlugin = (program: string): { exec: object } => {
    writeFileSync(file('plugin'), `#!/bin/sh\n${program}\n`);
    chmodSync(file('plugin'), 0o700);
    return { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: file('plugin'), args: [] } };
  };
  const credential = (token: string): string =>
    JSON.stringify({
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status: { token, expirationTimestamp: new Date(Date.now() + 3_600_000).toISOString() },
    });

  it('that a program gives are asked for again when the server does not know them any more', async () => {
    writeFileSync(file('credential'), credential('first'));
    const client = await clientOf(writePlugin(`echo run >> '${file('runs')}'; cat '${file('credential')}'`));
    rooms.proxy.token = 'first';
    await expect(client.listInstances()).resolves.toEqual([]);
    rooms.proxy.token = 'second';
    writeFileSync(file('credential'), credential('second'));
    await expect(client.listInstances()).resolves.toEqual([]);
  });

  const runs = (): number =>
    existsSync(file('runs')) ? readFileSync(file('runs'), 'utf8').trim().split('\n').length : 0;

  it('that expire are asked for once for all calls that went out with them', async () => {
    writeFileSync(file('credential'), credential('first'));
    const client = await clientOf(writePlugin(`echo run >> '${file('runs')}'; cat '${file('credential')}'`));
    rooms.proxy.token = 'first';
    await client.listInstances();
    rooms.proxy.token = 'second';
    writeFileSync(file('credential'), credential('second'));
    await Promise.all(
      Array.from({ length: 40 }, (_, room) => client.deleteInstance('arena', `arena-${room}`, 'scale_down')),
    );
    expect(runs()).toBe(2);
  });

  it('are not asked for beside a program that is still at it', async () => {
    // Until the folder is removed.
    const hang = `while [ -e '${file('kubeconfig')}' ]; do sleep 0.1; done`;
    const client = await clientOf(writePlugin(`echo run >> '${file('runs')}'; ${hang}`), { callDeadlineMs: 500 });
    const now = Date.now.bind(Date);
    const clock = jest.spyOn(Date, 'now');
    try {
      for (const aheadMs of [0, 15_000, 30_000]) {
        clock.mockImplementation(() => now() + aheadMs);
        await expect(client.listInstances()).rejects.toMatchObject({ kind: 'unavailable' });
      }
    } finally {
      clock.mockRestore();
    }
    expect(runs()).toBe(1);
  });

  it('that a program cannot give fail the call within its deadline, and are had when it can', async () => {
    rooms.proxy.token = 'late';
    const client = await clientOf(writePlugin('echo "the login has expired" >&2; exit 1'), { callDeadlineMs: 1_000 });
    const failure: unknown = await client.listInstances().catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: 'unavailable', code: 'runtime.unauthenticated' });
    expect((failure as Error).message).toBe(
      `Kubernetes did not list pods: no credentials came from the program "${file('plugin')}": the login has expired`,
    );
    expect(isRefusal(failure)).toBe(true);
    expect(saidOfServer()).toEqual([]);
    writePlugin(`echo '${credential('late')}'`);
    await expect(client.listInstances()).resolves.toEqual([]);
  });

  it('that a program never gives fail the call within its deadline', async () => {
    const client = await clientOf(writePlugin('exec sleep 3'), { callDeadlineMs: 500 });
    await expect(client.listInstances()).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'runtime.unauthenticated',
      message: expect.stringContaining(`the program "${file('plugin')}": it did not end in time`),
    });
    expect(saidOfServer()).toEqual([]);
  });

  it('in a file that cannot be read are told by its name, and no silence of the server', async () => {
    writeFileSync(file('token'), 'first');
    const client = await clientOf({ tokenFile: 'token' }, { callDeadlineMs: 500 });
    rmSync(file('token'));
    await expect(client.listInstances()).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'runtime.unauthenticated',
      message: expect.stringContaining(`no credentials came from the file ${file('token')}`),
    });
    expect(saidOfServer()).toEqual([]);
    const stop = new AbortController();
    const handlers = { onList: async () => undefined, onChange: async () => undefined };
    const watching = client.watchInstances(handlers, stop.signal);
    await eventually(() =>
      expect(rooms.log.lines.map(({ message }) => message)).toContain('a watch of Kubernetes was interrupted'),
    );
    stop.abort();
    await watching;
    expect(saidOfServer()).toEqual([]);
  });

  it('in a file are read again when the server does not know them any more', async () => {
    writeFileSync(file('token'), 'first');
    const client = await clientOf({ tokenFile: 'token' });
    rooms.proxy.token = 'first';
    await expect(client.listInstances()).resolves.toEqual([]);
    rooms.proxy.token = 'second';
    writeFileSync(file('token'), 'second');
    await expect(client.listInstances()).resolves.toEqual([]);
  });

  it('that are refused for good are told as such, with what the server says', async () => {
    rooms.proxy.token = 'secret';
    const client = await clientOf({ token: 'wrong' });
    await expect(client.listInstances()).rejects.toMatchObject({ message: expect.stringContaining('Unauthorized') });
  });
});
