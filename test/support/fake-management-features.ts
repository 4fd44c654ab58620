import { DomainError } from '../../src/domain/errors';
import type { Operation, OperationEvent } from '../../src/domain/operation/operation';
import type { FleetCounts } from '../../src/domain/room/room';
import type { Scheduler, SchedulerDefinition } from '../../src/domain/scheduler/scheduler';
import { OperationsService } from '../../src/features/operations/operations.service';
import { SchedulersService } from '../../src/features/schedulers/schedulers.service';

const at = new Date('2026-05-01T10:00:00.123Z');

/** Keeps schedulers in memory and remembers what it was asked; `failWith` makes it fail. */
export class FakeSchedulers {
  readonly stored = new Map<string, Scheduler>();
  readonly calls: unknown[][] = [];
  failWith: Error | null = null;
  /** Awaited by every listing. */
  gate: Promise<unknown> = Promise.resolve();

  async createScheduler(name: string, definition: SchedulerDefinition): Promise<Scheduler> {
    this.record('create', name, definition);
    if (this.stored.has(name)) {
      throw new DomainError(
        'already_exists',
        'scheduler.exists',
        `error creating scheduler ${name}: name already exists`,
      );
    }
    const scheduler: Scheduler = {
      name,
      state: 'creating',
      version: 'v1.0.0',
      rollbackVersion: '',
      createdAt: at,
      versionCreatedAt: at,
      lastDownscaleAt: null,
      definition,
    };
    this.stored.set(name, scheduler);
    return scheduler;
  }

  async getScheduler(name: string, version?: string): Promise<Scheduler> {
    this.record('get', name, version);
    return this.stored.get(name) ?? notFound(name);
  }

  async listSchedulers(filter: { game?: string }): Promise<Scheduler[]> {
    this.record('list', filter);
    await this.gate;
    return [...this.stored.values()].filter(
      ({ definition }) => filter.game === undefined || definition.game === filter.game,
    );
  }

  async deleteScheduler(name: string): Promise<{ operationId: string }> {
    this.record('delete', name);
    if (!this.stored.has(name)) notFound(name);
    return { operationId: 'op-1' };
  }

  async describeFleets(game?: string): Promise<{ scheduler: Scheduler; counts: FleetCounts }[]> {
    this.record('info', game);
    const counts = { rooms: { ready: 3, occupied: 2, pending: 1, terminating: 0 } } as FleetCounts;
    return [...this.stored.values()].map((scheduler) => ({ scheduler, counts }));
  }

  private record(...call: unknown[]): void {
    this.calls.push(call);
    if (this.failWith !== null) throw this.failWith;
  }
}

function notFound(name: string): never {
  throw new DomainError('not_found', 'scheduler.not_found', `scheduler ${name} not found`);
}

/** Knows one operation, `op-1` of `arena`. */
export class FakeOperations {
  readonly calls: unknown[][] = [];
  readonly operation: Operation = {
    id: 'op-1',
    scheduler: 'arena',
    definition: 'add_rooms',
    input: { amount: 2 },
    status: 'in_progress',
    attempt: 1,
    actor: 'health_controller',
    createdAt: at,
    leaseExpiresAt: new Date('2026-05-01T10:00:05.5Z'),
  };

  async listOperations(scheduler: string, query: object): Promise<object> {
    this.calls.push(['list', scheduler, query]);
    return { page: 1, pageSize: 1, total: 1, operations: [this.operation] };
  }

  async getOperation(scheduler: string, id: string): Promise<{ operation: Operation; history: OperationEvent[] }> {
    this.calls.push(['get', scheduler, id]);
    if (id !== this.operation.id) {
      throw new DomainError('not_found', 'operation.not_found', `operation ${id} not found in scheduler ${scheduler}`);
    }
    return { operation: this.operation, history: [{ createdAt: at, event: 'Created' }] };
  }
}

export function fakeManagementFeatures() {
  const schedulers = new FakeSchedulers();
  const operations = new FakeOperations();
  return {
    schedulers,
    operations,
    providers: [
      { provide: SchedulersService, useValue: schedulers },
      { provide: OperationsService, useValue: operations },
    ],
  };
}
