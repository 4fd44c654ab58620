import { createHash } from 'node:crypto';
import { Agent as HttpAgent, type OutgoingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent, type RequestOptions } from 'node:https';
import { delimiter } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node';
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
}

/** Tokens in files change (kubelet renews them), and so do certificates: read again this often. Milliseconds. */
const freshForMs = 10_000;
/** Connections for calls beside each other; each watch has one too. */
const maxSockets = 100;

/**
 * The way to an API server: address, credentials, and connections that are kept. The client library knows all kinds of
 * credentials, among them programs that are run for a token, but opens a connection for every request.
 */
export class ClusterAccess {
  private access: Promise<Access> | null = null;
  private freshUntilMs = 0;
  private kept: { fingerprint: string; agent: HttpAgent } | null = null;

  private constructor(
    private config: KubeConfig,
    private readonly load: () => KubeConfig,
  ) {}

  /**
   * Reads the configuration; nothing is connected yet.
   * @throws DomainError `runtime.cluster_unknown` (failed_precondition) when there is none, or it cannot be read.
   */
  static async open(address: ClusterAddress): Promise<ClusterAccess> {
    // Takes a third of a second and 70 MB: only processes that use it pay.
    const library = await import('@kubernetes/client-node');
    const load = () => {
      try {
        return readConfig(new library.KubeConfig(), () => new library.KubeConfig(), address);
      } catch (error) {
        if (error instanceof DomainError) throw error;
        throw unknownCluster(`The configuration of the Kubernetes cluster cannot be read: ${messageOf(error)}`, error);
      }
    };
    return new ClusterAccess(load(), load);
  }

  /** What the next request needs. Credentials are asked for anew every few seconds. */
  current(): Promise<Access> {
    if (this.access !== null && Date.now() < this.freshUntilMs) return this.access;
    this.freshUntilMs = Date.now() + freshForMs;
    const access = this.compose();
    this.access = access;
    access.catch(() => {
      if (this.access === access) this.access = null;
    });
    return access;
  }

  /** The server did not know the credentials: the configuration is read again, so that nothing remembered is used. */
  renew(): void {
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
    const cluster = this.config.getCurrentCluster();
    if (cluster === null) throw unknownCluster('The kubeconfig has no current context with a cluster');
    const options: RequestOptions = {};
    await this.config.applyToHTTPSOptions(options);
    return {
      server: new URL(cluster.server),
      headers: {
        ...textHeaders(options.headers as OutgoingHttpHeaders | undefined),
        ...basicAuthorization(options.auth),
      },
      agent: this.keepAgent(options, cluster.proxyUrl, cluster.server),
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
  } else if (kubeconfig) {
    const [first = '', ...others] = kubeconfig.split(delimiter).filter((file) => file !== '');
    config.loadFromFile(first);
    for (const file of others) {
      const more = another();
      more.loadFromFile(file);
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
