/**
 * Which process runs a loop that must run once (watcher, reporter). One row per loop, with expiry and fencing token.
 */
export abstract class LoopLeases {
  /** Takes a free or expired lease, or renews one's own. Null when another owner holds it. */
  abstract acquire(name: string, owner: string, ttlMs: number): Promise<{ token: string } | null>;

  /** Lets another owner take it at once. Idempotent. */
  abstract release(name: string, owner: string): Promise<void>;
}
