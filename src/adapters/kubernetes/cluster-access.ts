import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, type OutgoingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent, type RequestOptions } from 'node:https';
import { delimiter, dirname, resolve } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node';
import { parse as parseYaml } from 'yaml';
import { DomainError, messageOf } from '../../domain/errors';

/** Where the cluster is. The first that is set counts; at least one must be. */
export interface ClusterAddress {
  /** The service account of the pod that Maestro runs in. */
  inCluster?: boolean | undefined;
  /** A kubeconfig file, or several as in `KUBECONFIG`. */
  kubeconfig?: string | undefined;
  /** An API server that asks for no credentials, such as `kubectl proxy`. */
  masterUrl?: string | undefined;
}

/** What one request needs. */
export interface Access {
  server: URL;
  headers: Record<string, string>;
  agent: HttpAgent;
  /** How often the configuration had been read again because the server did not know what it gave. */
  renewals: number;
}

/** Tokens in files change (kubelet renews them), and so do certificates: read again this often. Milliseconds. */
const freshForMs = 10_000;
/** A program that gives credentials, and is not done by then, is given up; the next one may be started. Milliseconds. */
const composeDeadlineMs = 60_000;
/** Connections for calls beside each other; each watch has one too. */
export const maxSockets = 100;

/**
 * The way to an API server: address, credentials, and connections that are kept. The client library knows all kinds of
 * credentials, among them programs that are run for a token, but opens a connection for every request.
 */
export class ClusterAccess {
  private access: Promise<Access> | null = null;
  private freshUntilMs = 0;
  private renewals = 0;
  /** Resolves when no credentials are being asked for. */
  private composed: Promise<unknown> = Promise.resolve();
  private kept: { fingerprint: string; agent: HttpAgent } | null = null;

  private constructor(
    private config: KubeConfig,
    private readonly load: () => KubeConfig,
    /** Scheme, host and port of the API server, for humans. */
    readonly server: string,
  ) {}

  /**
   * Reads the configuration; nothing is connected yet.
   * @throws DomainError `runtime.cluster_unknown` (failed_precondition), in one line, when there is none, or it cannot be read,
   * or names no API server.
   */
  static async open(address: ClusterAddress): Promise<ClusterAccess> {
    // Takes a third of a second and 70 MB: only processes that use it pay.
    const library = await import('@kubernetes/client-node');
    const load = () => {
      try {
        return readConfig(new library.KubeConfig(), () => new library.KubeConfig(), address);
      } catch (error) {
        if (error instanceof DomainError) throw error;
        // The parser's further lines quote the file, which may hold a key.
        const [reason = ''] = messageOf(error).split('\n');
        throw unknownCluster(`The configuration of the Kubernetes cluster cannot be read: ${reason}`, error);
      }
    };
    const config = load();
    return new ClusterAccess(config, load, serverOf(config).origin);
  }

  /** What the next request needs. Credentials are asked for anew every few seconds, once for all who wait for them. */
  current(): Promise<Access> {
    if (this.access !== null && Date.now() < this.freshUntilMs) return this.access;
    // As long as it is being asked for.
    this.freshUntilMs = Infinity;
    const access = this.composed.then(() => withinDeadline(this.compose()));
    this.access = access;
    this.composed = access.then(
      () => {
        if (this.access === access) this.freshUntilMs = Date.now() + freshForMs;
      },
      () => {
        if (this.access === access) this.access = null;
      },
    );
    return access;
  }

  /** Where the credentials come from, for humans. */
  get credentialsSource(): string {
    const user = this.config.getCurrentUser();
    const program = user?.exec as { command?: string } | undefined;
    if (program?.command) return `the program "${program.command}"`;
    const provider = user?.authProvider as { name: string; config?: { tokenFile?: string } } | undefined;
    if (provider?.config?.tokenFile) return `the file ${provider.config.tokenFile}`;
    return provider ? `the authentication provider "${provider.name}"` : 'the configuration of the cluster';
  }

  /**
   * The server did not know these credentials: the configuration is read again, so that nothing remembered is used. Calls that went
   * out with the same ones beside each other make for one reading.
   */
  renew(refused: Access): void {
    if (refused.renewals !== this.renewals) return;
    this.renewals++;
    this.access = null;
    try {
      this.config = this.load();
    } catch {
      // Somebody is writing the file: what was read before may do meanwhile.
    }
  }

  close(): void {
    this.kept?.agent.destroy();
    this.kept = null;
    this.access = null;
  }

  private async compose(): Promise<Access> {
    const { config, renewals } = this;
    const server = serverOf(config);
    const options: RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    return {
      server,
      headers: {
        ...textHeaders(options.headers as OutgoingHttpHeaders | undefined),
        ...basicAuthorization(options.auth),
      },
      agent: this.keepAgent(options, config.getCurrentCluster()?.proxyUrl, server.href),
      renewals,
    };
  }

  /** The same agent as long as what its connections are made with stays the same. */
  private keepAgent(options: RequestOptions, proxyUrl: string | undefined, server: string): HttpAgent {
    const { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized } = options;
    const tls = { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized };
    const fingerprint = createHash('sha256')
      .update(JSON.stringify([tls, proxyUrl, server]))
      .digest('hex');
    if (this.kept?.fingerprint === fingerprint) return this.kept.agent;
    if (this.kept) letRunDry(this.kept.agent);
    const agent = proxyUrl ? (options.agent as HttpAgent) : ownAgent(server, tls);
    this.kept = { fingerprint, agent };
    return agent;
  }
}

/** @throws when the credentials are not there in time. */
async function withinDeadline<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('what gives the credentials did not end in time')), composeDeadlineMs);
    timer.unref();
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function ownAgent(server: string, tls: RequestOptions): HttpAgent {
  const keeping = { keepAlive: true, maxSockets, scheduling: 'lifo' as const };
  const defined = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
  return server.startsWith('http:') ? new HttpAgent(keeping) : new HttpsAgent({ ...defined, ...keeping });
}

/** Requests that run on it may end; then its connections close. */
function letRunDry(agent: HttpAgent): void {
  agent.maxFreeSockets = 0;
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
}

function readConfig(config: KubeConfig, another: () => KubeConfig, address: ClusterAddress): KubeConfig {
  const { inCluster, kubeconfig, masterUrl } = address;
  if (inCluster) {
    config.loadFromCluster();
    // The library takes the address from variables that only pods have.
    if (config.getCurrentCluster()?.server.includes('//undefined:')) {
      throw unknownCluster(
        'MAESTRO_ADAPTERS_RUNTIME_KUBERNETES_INCLUSTER is true, but this process runs in no pod: KUBERNETES_SERVICE_HOST is not set',
      );
    }
  } else if (kubeconfig) {
    const [first = '', ...others] = kubeconfig.split(delimiter).filter((file) => file !== '');
    loadFile(config, first);
    for (const file of others) {
      const more = another();
      loadFile(more, file);
      // kubectl's rule: the first file that says which context counts.
      config.mergeConfig(more, config.getCurrentContext() !== undefined);
    }
  } else if (masterUrl) {
    config.loadFromClusterAndUser({ name: 'cluster', server: masterUrl, skipTLSVerify: false }, { name: 'nobody' });
  } else {
    throw unknownCluster(
      'Nothing says where the Kubernetes cluster is: set MAESTRO_ADAPTERS_RUNTIME_KUBERNETES_INCLUSTER, ..._KUBECONFIG ' +
        'or ..._MASTERURL, or KUBECONFIG',
    );
  }
  // The library refuses plain HTTP unless certificates are not checked, and there are none.
  config.clusters = config.clusters.map((cluster) =>
    cluster.server.startsWith('http:') ? { ...cluster, skipTLSVerify: true } : cluster,
  );
  return config;
}

/** The library takes an empty file for an error of its own. */
function loadFile(config: KubeConfig, file: string): void {
  try {
    config.loadFromFile(file);
    addTokenFiles(config, file);
  } catch (error) {
    const reason = error instanceof TypeError ? 'it is empty, or no kubeconfig' : messageOf(error).split('\n')[0];
    throw unknownCluster(`The kubeconfig ${file} cannot be read: ${reason}`, error);
  }
}

/** The library does not know this field of a user, which kubectl does; it knows the same thing by the name that pods use. */
function addTokenFiles(config: KubeConfig, file: string): void {
  const { users } = parseYaml(readFileSync(file, 'utf8')) as {
    users?: { name: string; user?: { tokenFile?: string } }[];
  };
  const paths = new Map(users?.flatMap(({ name, user }) => (user?.tokenFile ? [[name, user.tokenFile]] : [])));
  config.users = config.users.map((user) => {
    const path = paths.get(user.name);
    if (path === undefined) return user;
    const tokenFile = resolve(dirname(file), path);
    return { ...user, authProvider: { name: 'tokenFile', config: { tokenFile } } };
  });
}

/** @throws DomainError `runtime.cluster_unknown` */
function serverOf(config: KubeConfig): URL {
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw unknownCluster('The kubeconfig has no current context with a cluster');
  const server = URL.canParse(cluster.server) ? new URL(cluster.server) : null;
  if (server?.protocol === 'https:' || server?.protocol === 'http:') return server;
  throw unknownCluster(`The kubeconfig's cluster "${cluster.name}" has no URL of an API server: "${cluster.server}"`);
}

function basicAuthorization(nameAndPassword: string | null | undefined): Record<string, string> {
  return nameAndPassword ? { authorization: `Basic ${Buffer.from(nameAndPassword).toString('base64')}` } : {};
}

/** Files end in a line break, which a header must not. */
function textHeaders(headers: OutgoingHttpHeaders | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), String(value).trim()]),
  );
}

function unknownCluster(message: string, cause?: unknown): DomainError {
  return new DomainError('failed_precondition', 'runtime.cluster_unknown', message, { cause });
}
