import type { Logger } from '../../ports/logger';
import { ApiFailure } from './api-failure';
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
 * The addresses of nodes. A node that disappears, or says for a while that it has no address, keeps its last one: rooms that
 * run there still do, and only their pods say when they end.
 */
export class NodeAddresses {
  private readonly known = new Map<string, { address: string; readAtMs: number }>();
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
    if (names.length > singleReads) {
      for (const node of (await this.api.list<Node>(path)).items) this.learn(node);
      return;
    }
    await Promise.all(names.map((name) => this.readOne(name)));
  }

  /** Keeps the addresses fresh until `signal` aborts; `onChange` hears of nodes that got another one. */
  async follow(onChange: (nodeName: string) => void, signal: AbortSignal): Promise<void> {
    const learn = (node: Node): void => {
      if (this.learn(node)) onChange(node.metadata?.name ?? '');
    };
    const watch = new ListWatch<Node>(
      this.api,
      { path, query: {}, name: 'nodes' },
      {
        onList: async (nodes) => nodes.forEach(learn),
        onEvent: (type, node) => {
          if (type !== 'DELETED') learn(node);
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

  private async readOne(name: string): Promise<void> {
    try {
      this.learn(await this.api.call<Node>({ method: 'GET', path: `${path}/${encodeURIComponent(name)}` }));
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
