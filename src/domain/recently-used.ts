/**
 * What was computed for the keys that were asked for last: at most `limit` of them. For results that follow from their key alone,
 * so that nobody can tell whether one was remembered.
 */
export class RecentlyUsed<Value> {
  /** In the order of their last use. */
  private readonly values = new Map<string, Value>();

  constructor(private readonly limit: number) {}

  get size(): number {
    return this.values.size;
  }

  /** The remembered value, or what `compute` answers. What it throws is not remembered. */
  get(key: string, compute: () => Value): Value {
    const known = this.values.get(key);
    const value = known !== undefined || this.values.has(key) ? (known as Value) : compute();
    this.values.delete(key);
    this.values.set(key, value);
    if (this.values.size > this.limit) {
      for (const oldest of this.values.keys()) {
        this.values.delete(oldest);
        break;
      }
    }
    return value;
  }
}
