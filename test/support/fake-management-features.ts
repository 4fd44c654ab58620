import { DomainError } from '../../src/domain/errors';
import type { Operation, OperationEvent } from '../../src/domain/operation/operation';
import { parseRoomListing, type RoomListingQuery } from '../../src/domain/room/parse-room-listing';
import type { FleetCounts, Room, RoomStatus } from '../../src/domain/room/room';
import { isEmptyPatch, noChangeFound, type DefinitionPatch } from '../../src/domain/scheduler/patch-definition';
import type { VersionPlan } from '../../src/domain/scheduler/plan-version-change';
import type { Scheduler, SchedulerDefinition, SchedulerVersion } from '../../src/domain/scheduler/scheduler';
import { FleetRoomsService, type ListedRooms, type RoomReport } from '../../src/features/rooms/fleet-rooms.service';
import { OperationsService } from '../../src/features/operations/operations.service';
import { SchedulerPlansService } from '../../src/features/schedulers/scheduler-plans.service';
import { SchedulersService } from '../../src/features/schedulers/schedulers.service';
import { fakeAutomationFeatures } from './fake-automation';

const at = new Date('2026-05-01T10:00:00.123Z');

type PublicSide<T> = { [K in keyof T]: T[K] };

/** Keeps schedulers in memory and remembers what it was asked; `failWith` makes it fail. */
export class FakeSchedulers implements PublicSide<SchedulersService> {
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

  async listVersions(name: string): Promise<SchedulerVersion[]> {
    this.record('versions', name);
    if (!this.stored.has(name)) notFound(name);
    return [
      { version: 'v1.1.0', isActive: false, createdAt: new Date('2026-05-02T10:00:00Z') },
      { version: 'v1.0.0', isActive: true, createdAt: at },
    ];
  }

  async createNewVersion(name: string, definition: SchedulerDefinition): Promise<{ operationId: string }> {
    this.record('new version', name, definition);
    return this.changeVersion(name);
  }

  async patchScheduler(name: string, patch: DefinitionPatch): Promise<{ operationId: string }> {
    this.record('patch', name, patch);
    if (isEmptyPatch(patch)) throw new DomainError('already_exists', 'scheduler.no_change', noChangeFound(name));
    return this.changeVersion(name);
  }

  async switchActiveVersion(name: string, version: string): Promise<{ operationId: string }> {
    this.record('switch', name, version);
    return this.changeVersion(name);
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

  /** `busy` is a scheduler whose version is being changed. */
  private changeVersion(name: string): { operationId: string } {
    if (name === 'busy') {
      throw new DomainError(
        'failed_precondition',
        'scheduler.version_change_open',
        `there is already an ongoing version operation (id: op-1) for scheduler ${name}`,
      );
    }
    if (!this.stored.has(name)) notFound(name);
    return { operationId: 'op-2' };
  }

  private record(...call: unknown[]): void {
    this.calls.push(call);
    if (this.failWith !== null) throw this.failWith;
  }
}

function notFound(name: string): never {
  throw new DomainError('not_found', 'scheduler.not_found', `scheduler ${name} not found`);
}

/** Plans the same for every scheduler but `nowhere`, which there is not, and remembers what it was asked. */
export class FakePlans implements PublicSide<SchedulerPlansService> {
  readonly calls: unknown[][] = [];
  readonly plan: VersionPlan = {
    problems: ['Scheduler.MaxSurge: MaxSurge is a required field'],
    changes: [
      { path: 'maxSurge', from: '25%', to: '', major: false },
      { path: 'autoscaling', from: null, to: { enabled: true, policy: { type: 'x', share: [0.1, 1] } }, major: false },
      { path: 'spec.containers[0].ports', from: ['é', 1.5, true], to: null, major: true },
    ],
    bump: 'major',
    version: 'v2.0.0',
    rooms: roomCounts({ ready: 3, occupied: 12 }),
    roomsWithMatches: 12,
    roomsToReplace: 15,
    steps: [
      { action: 'validate_room', detail: 'starts one room' },
      { action: 'switch_version', detail: 'makes v2.0.0 the active version' },
    ],
    blockedBy: [
      { code: 'scheduler_terminating', detail: 'scheduler arena is being deleted' },
      { code: 'version_change_open', detail: 'there is already one', operationId: 'op-1' },
    ],
  };

  async planNewVersion(name: string, definition: SchedulerDefinition): Promise<VersionPlan> {
    this.calls.push(['plan version', name, definition]);
    return name === 'nowhere' ? notFound(name) : this.plan;
  }

  async planPatch(name: string, patch: DefinitionPatch): Promise<VersionPlan> {
    this.calls.push(['plan patch', name, patch]);
    return name === 'nowhere' ? notFound(name) : this.plan;
  }
}

function roomCounts(some: Partial<Record<RoomStatus, number>>): Record<RoomStatus, number> {
  const none = { pending: 0, unready: 0, ready: 0, occupied: 0, terminating: 0, error: 0, terminated: 0 };
  return { ...none, active: 0, allocated: 0, ...some };
}

/** Knows one operation, `op-1` of `arena`, and that `op-0` has ended. */
export class FakeOperations implements Omit<PublicSide<OperationsService>, 'enqueue' | 'announce'> {
  readonly calls: unknown[][] = [];
  readonly operation: Operation = {
    id: 'op-1',
    scheduler: 'arena',
    definition: 'add_rooms',
    input: { amount: 2 },
    status: 'in_progress',
    attempt: 1,
    actor: 'health_controller',
    reason: '',
    createdAt: at,
    startedAt: at,
    finishedAt: null,
    cancelRequestedAt: null,
    waiting: false,
    leaseExpiresAt: new Date('2026-05-01T10:00:05.5Z'),
  };

  async listOperations(scheduler: string, query: object) {
    this.calls.push(['list', scheduler, query]);
    return scheduler === 'empty'
      ? { page: 1, pageSize: 0, total: 0, operations: [] }
      : { page: 1, pageSize: 1, total: 1, operations: [this.operation] };
  }

  async getOperation(scheduler: string, id: string): Promise<{ operation: Operation; history: OperationEvent[] }> {
    this.calls.push(['get', scheduler, id]);
    if (id !== this.operation.id) this.unknown(scheduler, id);
    return { operation: this.operation, history: [{ createdAt: at, event: 'Created' }] };
  }

  async cancelOperation(scheduler: string, id: string): Promise<void> {
    this.calls.push(['cancel', scheduler, id]);
    if (id === 'op-0') {
      throw new DomainError(
        'aborted',
        'operation.ended',
        'cannot cancel operation since status "finished" is a final status',
      );
    }
    if (id !== this.operation.id) this.unknown(scheduler, id);
  }

  private unknown(scheduler: string, id: string): never {
    throw new DomainError('not_found', 'operation.not_found', `operation ${id} not found in scheduler ${scheduler}`);
  }
}

/**
 * Every scheduler but `nowhere` has the rooms of `arena`: `arena-1`, of which all is known, and the validation room `arena-2`, of
 * which nothing is yet.
 */
export class FakeRooms implements PublicSide<FleetRoomsService> {
  readonly calls: unknown[][] = [];
  readonly rooms: Room[] = [
    {
      id: 'arena-1',
      scheduler: 'arena',
      version: 'v1.0.0',
      validation: false,
      status: 'active',
      statusSinceMs: at.getTime(),
      pingStatus: 'occupied',
      lastPingAtMs: at.getTime() + 1,
      createdAtMs: at.getTime() - 1_000,
      adoptedAtMs: at.getTime() - 500,
      runningMatches: 2,
      allocations: [
        { id: 'allocation-1', allocatedAtMs: at.getTime(), expiresAtMs: at.getTime() + 30_000 },
        { id: 'allocation-2', allocatedAtMs: at.getTime(), expiresAtMs: null },
      ],
      drainingSinceMs: at.getTime() + 2,
      drainReason: 'operator',
      endAsked: null,
      startPutOff: null,
      instance: {
        status: 'ready',
        description: 'it runs',
        address: { host: '203.0.113.7', ports: [{ name: 'game', protocol: 'UDP', port: 40_123 }] },
        restarts: {
          count: 2,
          lastEnd: { container: 'game', exitCode: 137, reason: 'OOMKilled', atMs: at.getTime() - 5_000 },
        },
      },
    },
    {
      id: 'arena-2',
      scheduler: 'arena',
      version: 'v2.0.0',
      validation: true,
      status: 'pending',
      statusSinceMs: at.getTime(),
      pingStatus: 'unknown',
      lastPingAtMs: null,
      createdAtMs: at.getTime(),
      adoptedAtMs: null,
      runningMatches: 0,
      allocations: [],
      drainingSinceMs: null,
      drainReason: null,
      endAsked: null,
      startPutOff: null,
      instance: { status: 'unknown', description: '', address: null, restarts: null },
    },
  ];

  async listRooms(scheduler: string, query: RoomListingQuery): Promise<ListedRooms> {
    this.calls.push(['list rooms', scheduler, query]);
    const listing = parseRoomListing(query);
    if (scheduler === 'nowhere') notFound(scheduler);
    return { rooms: this.rooms, total: 2, page: listing.page, perPage: listing.perPage, rebuilding: true };
  }

  async getRoom(scheduler: string, id: string): Promise<RoomReport> {
    this.calls.push(['get room', scheduler, id]);
    const room = this.find(scheduler, id);
    if (room.validation) return { room, why: [], transitions: [], metadata: null };
    return {
      room,
      why: ['It became active 1 s ago (2026-05-01T10:00:00Z): it said occupied.', 'It cannot be given out.'],
      transitions: [
        { atMs: at.getTime(), from: 'ready', to: 'active', cause: 'ping', detail: 'occupied' },
        { atMs: at.getTime() - 1_000, from: null, to: 'ready', cause: 'adopted', detail: 'ready' },
      ],
      metadata: { map: 'harbour', players: [1, null, { name: 'é' }] },
    };
  }

  async deleteRoom(scheduler: string, id: string): Promise<{ operationId: string }> {
    this.calls.push(['delete room', scheduler, id]);
    this.find(scheduler, id);
    return { operationId: 'op-3' };
  }

  async drainRoom(scheduler: string, id: string): Promise<void> {
    this.calls.push(['drain room', scheduler, id]);
    if (this.find(scheduler, id).validation) {
      throw new DomainError('failed_precondition', 'room.is_validation', `room ${id} only tries a version`);
    }
  }

  private find(scheduler: string, id: string): Room {
    if (scheduler === 'nowhere') notFound(scheduler);
    const room = this.rooms.find((each) => each.id === id);
    if (room === undefined) {
      throw new DomainError('not_found', 'room.not_found', `room ${id} not found in scheduler ${scheduler}`);
    }
    return room;
  }
}

export function fakeManagementFeatures() {
  const schedulers = new FakeSchedulers();
  const plans = new FakePlans();
  const operations = new FakeOperations();
  const rooms = new FakeRooms();
  const { automation, reports, backtests, providers } = fakeAutomationFeatures();
  return {
    schedulers,
    plans,
    operations,
    rooms,
    automation,
    reports,
    backtests,
    providers: [
      ...providers,
      { provide: SchedulersService, useValue: schedulers },
      { provide: SchedulerPlansService, useValue: plans },
      { provide: OperationsService, useValue: operations },
      { provide: FleetRoomsService, useValue: rooms },
    ],
  };
}
