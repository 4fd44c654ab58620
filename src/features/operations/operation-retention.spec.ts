import { eventually } from '../../../test/support/eventually';
import { RecordedLog } from '../../../test/support/recorded-log';
import { LoopLeases } from '../../ports/loop-leases';
import type { Metrics } from '../../ports/metrics';
import type { DeletedOperations, OperationStore, RetentionRules } from '../../ports/operation-store';
import { OperationRetention } from './operation-retention';

const rules: RetentionRules = { healingAgeMs: 1_000, changeAgeMs: 2_000, newestChanges: 3, limit: 4 };
const batchSize = 10;

/** So many operations are outdated; each batch takes from them. */
class OutdatedOperations {
  hidden = 0;
  readonly healing = new Map<string, number>();
  readonly broken = new Set<string>();
  readonly batches: string[] = [];
  /** Awaited by each batch. */
  gate: Promise<unknown> = Promise.resolve();

  async deleteHidden(ageMs: number, limit: number): Promise<number> {
    expect([ageMs, limit]).toEqual([rules.healingAgeMs, batchSize]);
    await this.gate;
    this.batches.push('hidden');
    const deleted = Math.min(this.hidden, limit);
    this.hidden -= deleted;
    return deleted;
  }

  async findOutdated(asked: RetentionRules): Promise<string[]> {
    expect(asked).toEqual(rules);
    return [...this.healing.keys(), ...this.broken];
  }

  async deleteOutdated(scheduler: string, asked: RetentionRules, limit: number): Promise<DeletedOperations> {
    expect([asked, limit]).toEqual([rules, batchSize]);
    await this.gate;
    this.batches.push(scheduler);
    if (this.broken.has(scheduler)) throw new Error('the database is sick');
    const left = this.healing.get(scheduler) ?? 0;
    const healing = Math.min(left, limit);
    if (healing === left) this.healing.delete(scheduler);
    else this.healing.set(scheduler, left - healing);
    return { healing, changes: 1, more: healing === limit };
  }
}

class CountedMetrics {
  readonly deleted: Record<string, number> = {};
  rounds = 0;

  operationsDeleted(kind: string, count: number): void {
    this.deleted[kind] = (this.deleted[kind] ?? 0) + count;
  }
  loopFinished(loop: string): void {
    expect(loop).toBe('operation_retention');
    this.rounds++;
  }
}

/** Belongs to whoever a test says. */
class OneLease extends LoopLeases {
  isMine = true;

  override async acquire(): Promise<{ token: string } | null> {
    return this.isMine ? { token: '1' } : null;
  }
  override async release(): Promise<void> {}
}

describe('the retention of operations', () => {
  let operations: OutdatedOperations;
  let leases: OneLease;
  let log: RecordedLog;
  let metrics: CountedMetrics;
  let stopping: AbortController;
  let loop: Promise<void>;

  beforeEach(() => {
    operations = new OutdatedOperations();
    leases = new OneLease();
    log = new RecordedLog();
    metrics = new CountedMetrics();
    stopping = new AbortController();
    loop = Promise.resolve();
  });
  afterEach(async () => {
    stopping.abort();
    await loop;
  });

  function start(intervalMs = 5): void {
    loop = new OperationRetention(operations as unknown as OperationStore, leases, metrics as unknown as Metrics, log, {
      owner: 'me',
      leaseTtlMs: 60,
      intervalMs,
      rules,
      batchSize,
    }).run(stopping.signal);
  }

  const deletedLines = () => log.lines.filter(({ message }) => message === 'old operations were deleted');

  it('deletes in batches until there is no more, and says once what', async () => {
    operations.hidden = 25;
    operations.healing.set('arena', 10).set('other', 3);
    start(60_000);
    await eventually(() => expect(metrics.rounds).toBe(1));
    expect(operations.batches).toEqual(['hidden', 'hidden', 'hidden', 'arena', 'arena', 'other']);
    expect(deletedLines()).toEqual([
      { level: 'info', fields: { no_action: 25, healing: 13, change: 3 }, message: 'old operations were deleted' },
    ]);
    expect(metrics.deleted).toEqual({ no_action: 25, healing: 13, change: 3 });
  });

  it('says nothing while there is nothing to delete, and looks again', async () => {
    start();
    await eventually(() => expect(operations.batches.length).toBeGreaterThan(3));
    expect(new Set(operations.batches)).toEqual(new Set(['hidden']));
    expect(log.lines.map(({ message }) => message)).toEqual(['this process runs the loop now']);
  });

  it('goes on with the others when those of one scheduler cannot be deleted, and the round has failed', async () => {
    operations.healing.set('arena', 1);
    operations.broken.add('sick');
    start(60_000);
    await eventually(() => expect(log.lines.map(({ message }) => message)).toContain('a round of a loop failed'));
    expect(operations.batches).toEqual(['hidden', 'arena', 'sick']);
    expect(log.lines.slice(1)).toEqual([
      {
        level: 'warn',
        fields: { scheduler_name: 'sick', err: 'the database is sick' },
        message: 'old operations of a scheduler could not be deleted',
      },
      { level: 'info', fields: { no_action: 0, healing: 1, change: 1 }, message: 'old operations were deleted' },
      {
        level: 'warn',
        fields: {
          loop: 'operation_retention',
          err: 'of 1 of 2 schedulers old operations could not be deleted',
        },
        message: 'a round of a loop failed',
      },
    ]);
    expect(metrics.rounds).toBe(0);
  });

  it.each([
    ['it is told to stop', () => stopping.abort()],
    ['the lease is lost', () => void (leases.isMine = false)],
  ])('stops in the middle of its work when %s', async (_, happen) => {
    operations.healing.set('arena', Infinity);
    start(60_000);
    await eventually(() => expect(operations.batches.length).toBeGreaterThan(5));
    happen();
    // Its last words are the sum of what it deleted.
    await eventually(() => expect(deletedLines()).toHaveLength(1));
    const batches = operations.batches.length;
    stopping.abort();
    await loop;
    expect(operations.batches).toHaveLength(batches);
    expect(deletedLines()[0]!.fields).toMatchObject({ healing: (batches - 1) * batchSize });
    expect(metrics.rounds).toBe(0);
    expect(log.lines.map(({ message }) => message)).not.toContain('a round of a loop failed');
  });
});
