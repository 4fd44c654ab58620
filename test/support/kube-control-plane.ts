import { spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:https';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually';

/** Where a cluster for tests comes from: binaries in `KUBEBUILDER_ASSETS` (or made by `npm run kube-assets`), or `KUBECONFIG`. */
export type KubeSource = { assets: string } | { kubeconfig: string };

/** Null when there is none; then tests of Kubernetes say so and do not run. */
export function findKubeSource(environment = process.env): KubeSource | null {
  const cacheHome = environment['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const made = environment['MAESTRO_KUBE_ASSETS'] ?? join(cacheHome, 'maestro', 'kube-assets-1.20.2');
  const given = environment['KUBEBUILDER_ASSETS'];
  for (const assets of given === undefined ? [made] : [given]) if (hasBinaries(assets)) return { assets };
  const kubeconfig = environment['KUBECONFIG'];
  return kubeconfig === undefined || kubeconfig === '' ? null : { kubeconfig };
}

/** `describe` where there is a cluster for tests; elsewhere the suite is skipped, and a line says what is missing. */
export function describeOnKubernetes(name: string, tests: (source: KubeSource) => void): void {
  const source = findKubeSource();
  if (source !== null) {
    describe(name, () => tests(source));
    return;
  }
  process.stderr.write(
    `SKIPPED: ${name}: there is no kube-apiserver. Run "npm run kube-assets" (Debian), or set KUBEBUILDER_ASSETS or KUBECONFIG.\n`,
  );
  describe.skip(`${name} (skipped: no kube-apiserver)`, () => {
    it('needs KUBEBUILDER_ASSETS or KUBECONFIG', () => undefined);
    tests({ assets: '' });
  });
}

/** A kube-apiserver and its etcd on loopback: no scheduler, no controllers, no kubelet. The test plays those. */
export class KubeControlPlane {
  private readonly folder = mkdtempSync(join(fastFolder(), 'maestro-kube-'));
  private readonly token = randomBytes(16).toString('hex');
  private processes: ChildProcess[] = [];
  private apiServer: ChildProcess | null = null;
  private etcd: ChildProcess | null = null;
  private readonly endAll = () => this.processes.forEach((child) => child.kill('SIGKILL'));

  private constructor(
    private readonly assets: string,
    private readonly ports: { api: number; etcd: number; peer: number },
  ) {}

  static async start(assets: string): Promise<KubeControlPlane> {
    const [api = 0, etcd = 0, peer = 0] = await freeTcpPorts(3);
    const plane = new KubeControlPlane(assets, { api, etcd, peer });
    process.once('exit', plane.endAll);
    try {
      plane.writeFiles();
      plane.startEtcd();
      await plane.startApiServer();
    } catch (error) {
      await plane.stop();
      throw error;
    }
    return plane;
  }

  get kubeconfig(): string {
    return join(this.folder, 'kubeconfig');
  }

  /** As a crash does it. */
  async killApiServer(): Promise<void> {
    const ending = this.apiServer;
    if (ending === null) return;
    this.apiServer = null;
    await killed(ending);
  }

  async startApiServer(): Promise<void> {
    const { api, etcd } = this.ports;
    const file = (name: string) => join(this.folder, name);
    const child = this.spawn('kube-apiserver', {
      'etcd-servers': `http://127.0.0.1:${etcd}`,
      'bind-address': '127.0.0.1',
      'advertise-address': '127.0.0.1',
      'secure-port': String(api),
      'cert-dir': file('certificates'),
      'token-auth-file': file('tokens.csv'),
      'authorization-mode': 'RBAC',
      'service-account-issuer': 'https://kubernetes.default.svc',
      'service-account-key-file': file('service-accounts.pub'),
      'service-account-signing-key-file': file('service-accounts.key'),
      'service-cluster-ip-range': '10.0.0.0/24',
      // Its tokens come from a controller, which does not run.
      'disable-admission-plugins': 'ServiceAccount',
    });
    this.apiServer = child;
    await eventually(
      async () => {
        if (child.exitCode === null && (await this.readiness()) !== 'ok')
          throw new Error('kube-apiserver is not ready');
      },
      { timeoutMs: 120_000, everyMs: 100 },
    );
    if (child.exitCode === null) return;
    const said = readFileSync(join(this.folder, 'kube-apiserver.log'), 'utf8').slice(-2_000);
    throw new Error(`kube-apiserver ended with ${child.exitCode}: ${said}`);
  }

  /** The store answers nothing and closes nothing, as on a disk that hangs; until `resumeStore` or `stop`. */
  pauseStore(): void {
    this.etcd?.kill('SIGSTOP');
  }

  resumeStore(): void {
    this.etcd?.kill('SIGCONT');
  }

  async stop(): Promise<void> {
    process.off('exit', this.endAll);
    await Promise.all(this.processes.map(killed));
    rmSync(this.folder, { recursive: true, force: true });
  }

  private writeFiles(): void {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    mkdirSync(join(this.folder, 'certificates'));
    const write = (name: string, text: string) => writeFileSync(join(this.folder, name), text, { mode: 0o600 });
    write('service-accounts.key', privateKey.export({ type: 'pkcs1', format: 'pem' }).toString());
    write('service-accounts.pub', publicKey.export({ type: 'spki', format: 'pem' }).toString());
    write('tokens.csv', `${this.token},admin,admin,system:masters\n`);
    const server = `https://127.0.0.1:${this.ports.api}`;
    write(
      'kubeconfig',
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        'current-context': 'test',
        clusters: [{ name: 'test', cluster: { server, 'insecure-skip-tls-verify': true } }],
        users: [{ name: 'admin', user: { token: this.token } }],
        contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
      }),
    );
  }

  private startEtcd(): void {
    const [clients, peers] = [`http://127.0.0.1:${this.ports.etcd}`, `http://127.0.0.1:${this.ports.peer}`];
    this.etcd = this.spawn('etcd', {
      'data-dir': join(this.folder, 'etcd'),
      'listen-client-urls': clients,
      'advertise-client-urls': clients,
      'listen-peer-urls': peers,
      'initial-advertise-peer-urls': peers,
      'initial-cluster': `default=${peers}`,
    });
  }

  private spawn(binary: string, flags: Record<string, string>): ChildProcess {
    const given = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
    const log = openSync(join(this.folder, `${binary}.log`), 'a');
    const child = spawn(join(this.assets, binary), given, { stdio: ['ignore', log, log] });
    closeSync(log);
    this.processes.push(child);
    child.once('exit', () => (this.processes = this.processes.filter((other) => other !== child)));
    return child;
  }

  private readiness(): Promise<string> {
    return new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${this.token}` };
      const url = `https://127.0.0.1:${this.ports.api}/readyz`;
      request(url, { headers, rejectUnauthorized: false, timeout: 2_000 }, (response) => {
        let said = '';
        response.on('data', (chunk) => (said += String(chunk))).on('end', () => resolve(said));
      })
        .on('error', reject)
        .end();
    });
  }
}

/** etcd waits for the disk with every write, and no test needs what it wrote after a crash of the machine. */
function fastFolder(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}

function hasBinaries(folder: string): boolean {
  try {
    for (const binary of ['kube-apiserver', 'etcd']) accessSync(join(folder, binary), constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

async function freeTcpPorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
