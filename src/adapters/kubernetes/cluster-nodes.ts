import type { Logger } from '../../ports/logger';
import type { InstanceSpec } from '../../ports/runtime';
import { ApiFailure } from './api-failure';
import { countHosts } from './count-hosts';
import type { KubernetesApi } from './kubernetes-api';
import type { Node } from './kubernetes-objects';
import { ListWatch } from './list-watch';
import { nodeAddress } from './node-address';

const path = '/api/v1/nodes';
/** What nobody follows is asked for again after this long. Milliseconds. */
const freshForMs = 30_000;
/** More unknown nodes than this are read with one list. */
const singleReads = 4;

/**
 * The nodes of the cluster: where players reach them, and which could run what. A node that disappears, or says for a while that
 * it has no address, keeps its last one: rooms that run there still do, and only their pods say when they end.
 */
export class ClusterNodes {
  private readonly known = new Map<string, { address: string; readAtMs: number }>();
  /** Those that there are, as of `listedAtMs` or, while they are followed, as of now. Never by single reads. */
  private nodes = new Map<string, Pick<Node, 'metadata' | 'spec'>>();
  private listedAtMs = -Infinity;
  private listing: Promise<void> | null = null;
  private followers = 0;

  constructor(
    private readonly api: KubernetesApi,
    private readonly log: Logger,
  ) {}

  addressOf(nodeName: string | null): string | null {
    return nodeName === null ? null : (this.known.get(nodeName)?.address ?? null);
  }

  /**
   * Reads those of the nodes that are not known, or not lately.
   * @throws ApiFailure
   */
  async read(nodeNames: Iterable<string | null>): Promise<void> {
    const oldestMs = this.followers > 0 ? -Infinity : Date.now() - freshForMs;
    const names = [...new Set(nodeNames)].filter((name): name is string => {
      if (name === null) return false;
      const known = this.known.get(name);
      return known === undefined || known.readAtMs < oldestMs;
    });
    if (names.length > singleReads) return this.list();
    await Promise.all(names.map((name) => this.readOne(name)));
  }

  /**
   * How many could run such an instance (`count-hosts.ts`).
   * @throws ApiFailure
   */
  async countHosts(placement: Pick<InstanceSpec, 'affinity' | 'toleration'>): Promise<number> {
    const isFresh = this.followers > 0 ? this.listedAtMs > -Infinity : this.listedAtMs > Date.now() - freshForMs;
    if (!isFresh) await this.list();
    return countHosts(this.nodes.values(), placement);
  }

  /** Keeps what is known fresh until `signal` aborts; `onChange` hears of nodes that got another one. */
  async follow(onChange: (nodeName: string) => void, signal: AbortSignal): Promise<void> {
    const learn = (node: Node): void => {
      if (this.learn(node)) onChange(node.metadata?.name ?? '');
    };
    const watch = new ListWatch<Node>(
      this.api,
      { path, query: {}, name: 'nodes' },
      {
        onList: async (nodes) => {
          this.replace(nodes);
          nodes.forEach(learn);
        },
        onEvent: (type, node) => {
          if (type === 'DELETED') {
            this.nodes.delete(node.metadata?.name ?? '');
          } else {
            this.keep(node);
            learn(node);
          }
        },
      },
      this.log,
    );
    this.followers++;
    try {
      await watch.run(signal);
    } finally {
      this.followers--;
    }
  }

  /** One list for all who want it at the same time. */
  private list(): Promise<void> {
    this.listing ??= this.api
      .list<Node>(path)
      .then(({ items }) => {
        this.replace(items);
        for (const node of items) this.learn(node);
      })
      .finally(() => (this.listing = null));
    return this.listing;
  }

  private replace(nodes: readonly Node[]): void {
    this.nodes.clear();
    for (const node of nodes) this.keep(node);
    this.listedAtMs = Date.now();
  }

  /** Of a node's long text (images, conditions) only what decides where pods may run. */
  private keep({ metadata, spec }: Node): void {
    if (metadata?.name === undefined) return;
    this.nodes.set(metadata.name, {
      metadata: metadata.labels === undefined ? {} : { labels: metadata.labels },
      ...(spec === undefined ? {} : { spec: { unschedulable: spec.unschedulable, taints: spec.taints } }),
    });
  }

  private async readOne(name: string): Promise<void> {
    try {
      this.learn(await this.api.urgent.call<Node>({ method: 'GET', path: `${path}/${encodeURIComponent(name)}` }));
    } catch (error) {
      // It has gone, and its pods will.
      if (!(error instanceof ApiFailure) || !error.isNotFound) throw error;
    }
  }

  private learn(node: Node): boolean {
    const name = node.metadata?.name;
    const address = nodeAddress(node);
    if (name === undefined || address === null) return false;
    const isNew = this.known.get(name)?.address !== address;
    this.known.set(name, { address, readAtMs: Date.now() });
    return isNew;
  }
}
