import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OperationDefinition } from '../../src/domain/operation/operation';
import type { Executor } from '../../src/features/operations/executor';
import { runnerSteps, type OperationStep } from '../../src/features/operations/operation-steps';
import { executors } from '../../src/roles/worker.role';
import { brokenRoom, eagerRoom, schedulerRequest, silentRoom, slowRoom } from '../support/cluster-schedulers';
import { eventually } from '../support/eventually';
import { MaestroCluster, hastyTimes, openStatuses, tell, type StoredOperation } from '../support/maestro-cluster';
import { StepTraps, type SprungTrap } from '../support/step-traps';
import type { WorkerPool } from '../support/worker-pool';

type Boundary = Pick<OperationStep, 'definition' | 'step' | 'edge'>;

/** Kinds that wait; the others hold their slot from claim to end. */
const waiting: readonly OperationDefinition[] = ['create_new_scheduler_version', 'delete_scheduler'];

/** Every place where a worker can die, as the program declares them: a new step is in the matrix at once. */
const boundaries: Boundary[] = executors
  .map((executor) => Reflect.construct(executor, []) as Executor)
  .flatMap(({ definition, steps }) =>
    [...steps, ...runnerSteps.filter((step) => step !== 'waiting' || waiting.includes(definition))].flatMap((step) =>
      (['before', 'after'] as const).map((edge) => ({ definition, step, edge })),
    ),
  );

/** Where it matters what a health cycle is about to do; that one is claimed is the same whatever it does. */
const stepsOfCycles = ['plan', 'mark rooms', 'ended'];

/** Long enough for as many deaths in a row as the longest scenario has, on a machine that does other things besides. */
const patience = { timeoutMs: 130_000, everyMs: 200 };

/** A room that never reports has expired after a while, however slow the machine is that day: here none is to. */
const roomsThatNeverReport = { MAESTRO_SERVICES_ROOMMANAGER_ROOMINITIALIZATIONTIMEOUTMILLIS: '3600000' };

interface CancelPoint {
  definition: OperationDefinition;
  step: string;
  edge: 'before' | 'after';
}

/** One scheduler, and the operations during which its workers die. */
interface Scenario {
  scheduler: string;
  /** Its workers die at every boundary of these kinds that they come to. */
  dying: OperationDefinition[];
  /** Not at the way forward, which another scenario walks: only where it is canceled or fails, and from there on. */
  onlyTurningBack?: true;
  /** Only at these steps: where another scenario walks the others. */
  steps?: readonly string[];
  /** Only on this side of each step: halves a long row of deaths. */
  edge?: 'before' | 'after';
  /** When the worker died there, the operation is canceled. */
  cancelAt?: CancelPoint;
  story(scenario: Scheduler): Promise<void>;
}

const madeMajor = async (scheduler: Scheduler): Promise<void> => {
  await scheduler.createdWithRooms({ roomsReplicas: 1 });
  await scheduler.armed();
  const change = await scheduler.ended(await scheduler.newVersion(eagerRoom));
  expect(change.status).toBe('finished');
  expect(change.events.filter((event) => /validation room .* started/.test(event))).toHaveLength(1);
  expect((await scheduler.ended('switch_active_version')).status).toBe('finished');
  await eventually(() => expect(scheduler.rooms().map(({ version }) => version)).toEqual(['v2.0.0']), patience);
  expect(await scheduler.stored()).toMatchObject({ version: 'v2.0.0', versions: ['v1.0.0', 'v2.0.0'] });
};

const deleted = async (scheduler: Scheduler): Promise<void> => {
  await scheduler.createdWithRooms({ roomsReplicas: 1 });
  await scheduler.armed();
  expect((await scheduler.ended(await scheduler.delete())).status).toBe('finished');
  expect(await scheduler.stored()).toBeUndefined();
  expect(scheduler.hasPlace()).toBe(false);
};

const scenarios: Record<string, Scenario> = {
  'a scheduler is created, and gets its rooms': {
    scheduler: 'created',
    dying: ['create_scheduler'],
    story: (scheduler) => scheduler.comesUp(1),
  },
  'a health cycle orders what is missing exactly once': {
    scheduler: 'healed',
    dying: ['health_controller'],
    story: (scheduler) => scheduler.comesUp(2),
  },
  'rooms are started, and no more than were ordered': {
    scheduler: 'filled',
    dying: ['add_rooms'],
    story: (scheduler) => scheduler.comesUp(3),
  },
  'a major version is made after one room of it came up, deaths before steps': {
    scheduler: 'versioned-before',
    dying: ['create_new_scheduler_version'],
    edge: 'before',
    story: madeMajor,
  },
  'a major version is made after one room of it came up, deaths after steps': {
    scheduler: 'versioned-after',
    dying: ['create_new_scheduler_version'],
    edge: 'after',
    story: madeMajor,
  },
  'the active version is switched': {
    scheduler: 'switched',
    dying: ['switch_active_version'],
    story: async (scheduler) => {
      await scheduler.createdWithRooms({ roomsReplicas: 1 });
      await scheduler.armed();
      await scheduler.order('PATCH', { maxSurge: '50%' });
      expect((await scheduler.ended('switch_active_version')).status).toBe('finished');
      expect(await scheduler.stored()).toMatchObject({ version: 'v1.1.0', versions: ['v1.0.0', 'v1.1.0'] });
    },
  },
  'rooms are removed, and no more than were too many': {
    scheduler: 'shrunk',
    dying: ['remove_rooms'],
    story: async (scheduler) => {
      await scheduler.createdWithRooms({ roomsReplicas: 3 });
      await scheduler.armed();
      const before = scheduler.roomIds();
      await scheduler.shrink(1);
      const order = await scheduler.ended('remove_rooms');
      expect(order.status).toBe('finished');
      await scheduler.quiet();
      const removed = order.input['roomIds'] as string[];
      await eventually(
        () => expect(scheduler.roomIds()).toEqual(before.filter((id) => !removed.includes(id))),
        patience,
      );
      expect((await scheduler.visible()).filter((line) => line.includes('rooms'))).toEqual([
        'add_rooms finished',
        'remove_rooms finished',
      ]);
    },
  },
  'rooms are claimed, and no more than were too many, whoever dies at the cycle': {
    scheduler: 'claimed',
    dying: ['health_controller'],
    steps: stepsOfCycles,
    story: async (scheduler) => {
      await scheduler.createdWithRooms({ roomsReplicas: 3 });
      await scheduler.armed();
      const before = scheduler.roomIds();
      await scheduler.shrink(1);
      await eventually(() => expect(scheduler.roomIds()).toHaveLength(1), patience);
      await scheduler.quiet();
      const [left] = scheduler.roomIds();
      expect(before).toContain(left);
      expect((await scheduler.visible()).filter((line) => line.startsWith('add_rooms'))).toEqual([
        'add_rooms finished',
      ]);
    },
  },
  'rooms of an older version are replaced, whoever dies at the cycle': {
    scheduler: 'replaced',
    dying: ['health_controller'],
    steps: stepsOfCycles,
    story: async (scheduler) => {
      await scheduler.createdWithRooms({ roomsReplicas: 2 });
      await scheduler.armed();
      const change = await scheduler.ended(await scheduler.newVersion(eagerRoom, { roomsReplicas: 2 }));
      expect(change.status).toBe('finished');
      await eventually(
        () => expect(scheduler.rooms().map(({ version }) => version)).toEqual(['v2.0.0', 'v2.0.0']),
        patience,
      );
      await scheduler.quiet();
    },
  },
  'a scheduler is deleted with its rooms, deaths before steps': {
    scheduler: 'deleted-before',
    dying: ['delete_scheduler'],
    edge: 'before',
    story: deleted,
  },
  'a scheduler is deleted with its rooms, deaths after steps': {
    scheduler: 'deleted-after',
    dying: ['delete_scheduler'],
    edge: 'after',
    story: deleted,
  },
  'a creation that fails leaves no scheduler, and what is not its own alone': {
    scheduler: 'refused',
    dying: ['create_scheduler'],
    onlyTurningBack: true,
    story: async (scheduler) => {
      await scheduler.create({ roomsReplicas: 1 });
      expect((await scheduler.ended('create_scheduler')).status).toBe('error');
      expect(await scheduler.stored()).toBeUndefined();
      expect(scheduler.hasPlace()).toBe(true);
    },
  },
  'a creation that is canceled leaves nothing': {
    scheduler: 'uncreated',
    dying: ['create_scheduler'],
    onlyTurningBack: true,
    cancelAt: { definition: 'create_scheduler', step: 'create in runtime', edge: 'after' },
    story: async (scheduler) => {
      await scheduler.create({ roomsReplicas: 1 });
      await scheduler.cancels();
      expect((await scheduler.ended('create_scheduler')).status).toBe('canceled');
      expect(await scheduler.stored()).toBeUndefined();
      expect(scheduler.hasPlace()).toBe(false);
    },
  },
  'a version whose rooms do not come up is refused': {
    scheduler: 'broken',
    dying: ['create_new_scheduler_version'],
    onlyTurningBack: true,
    story: async (scheduler) => {
      await scheduler.createdWithRooms({ roomsReplicas: 1 });
      await scheduler.armed();
      const change = await scheduler.ended(await scheduler.newVersion(brokenRoom));
      expect(change.status).toBe('error');
      expect(change.events.filter((event) => event.includes('validation failed'))).toHaveLength(2);
      await scheduler.staysAsItWas(1);
    },
  },
  'a version that is canceled during its validation takes its room along': {
    scheduler: 'unversioned',
    dying: ['create_new_scheduler_version'],
    onlyTurningBack: true,
    cancelAt: { definition: 'create_new_scheduler_version', step: 'waiting', edge: 'after' },
    story: async (scheduler) => {
      await scheduler.createdWithRooms({ roomsReplicas: 1 });
      await scheduler.armed();
      const id = await scheduler.newVersion(['/bin/sh', '-c', 'while :; do sleep 0.3; done']);
      await scheduler.cancels();
      expect((await scheduler.ended(id)).status).toBe('canceled');
      await scheduler.staysAsItWas(1);
    },
  },
  'a switch to a version that is not there fails and changes nothing': {
    scheduler: 'unswitched',
    dying: ['switch_active_version'],
    story: async (scheduler) => {
      await scheduler.createdWithRooms({ roomsReplicas: 1 });
      await scheduler.armed();
      expect((await scheduler.ended(await scheduler.order('PUT', { version: 'v9.0.0' }))).status).toBe('error');
      await scheduler.staysAsItWas(1);
    },
  },
  'rooms of a canceled order end, and those that are wanted come all the same': {
    scheduler: 'unfilled',
    dying: ['add_rooms'],
    onlyTurningBack: true,
    cancelAt: { definition: 'add_rooms', step: 'start rooms', edge: 'after' },
    story: async (scheduler) => {
      await scheduler.create({ roomsReplicas: 2 });
      await scheduler.cancels();
      const canceled = await scheduler.ended('add_rooms');
      expect(canceled.status).toBe('canceled');
      await eventually(() => expect(scheduler.roomIds()).toHaveLength(2), patience);
      expect(scheduler.rooms().filter(({ operationId }) => operationId === canceled.id)).toEqual([]);
    },
  },
  'a removal that is canceled says what it removed': {
    scheduler: 'unshrunk',
    dying: ['remove_rooms'],
    onlyTurningBack: true,
    cancelAt: { definition: 'remove_rooms', step: 'end rooms', edge: 'after' },
    story: async (scheduler) => {
      await scheduler.createdWithRooms({ roomsReplicas: 2 });
      await scheduler.armed();
      await scheduler.shrink(1);
      await scheduler.cancels();
      const canceled = await scheduler.ended('remove_rooms');
      expect(canceled.status).toBe('canceled');
      expect(canceled.events).toContain(`removed rooms: [${(canceled.input['roomIds'] as string[]).join(' ')}]`);
      await eventually(() => expect(scheduler.roomIds()).toHaveLength(1), patience);
    },
  },
  'a health cycle that is canceled is followed by another one': {
    scheduler: 'unhealed',
    dying: ['health_controller'],
    onlyTurningBack: true,
    cancelAt: { definition: 'health_controller', step: 'plan', edge: 'before' },
    story: async (scheduler) => {
      await scheduler.create({ roomsReplicas: 2 });
      await scheduler.cancels();
      expect((await scheduler.ended('health_controller')).status).toBe('canceled');
      await eventually(() => expect(scheduler.roomIds()).toHaveLength(2), patience);
      await scheduler.quiet();
      expect((await scheduler.visible()).filter((line) => line.startsWith('add_rooms'))).toEqual([
        'add_rooms finished',
      ]);
    },
  },
  'a deletion that is canceled leaves the scheduler terminating, and can be repeated': {
    scheduler: 'undeleted',
    dying: ['delete_scheduler'],
    onlyTurningBack: true,
    cancelAt: { definition: 'delete_scheduler', step: 'waiting', edge: 'after' },
    story: async (scheduler) => {
      await scheduler.createdWithRooms({ roomsReplicas: 1, command: slowRoom });
      await scheduler.armed();
      const id = await scheduler.delete();
      await scheduler.cancels();
      expect((await scheduler.ended(id)).status).toBe('canceled');
      expect(await scheduler.stored()).toMatchObject({ state: 'terminating' });
      expect((await scheduler.ended(await scheduler.delete())).status).toBe('finished');
      expect(await scheduler.stored()).toBeUndefined();
    },
  },
};

const turningBack = (step: string): boolean =>
  step === 'rolling back' || step === 'ended' || step.startsWith('rollback') || step.startsWith('undo');

let cluster: MaestroCluster;
let traps: StepTraps;

/** One scheduler of the cluster, as a story sees it. */
class Scheduler {
  private readonly name: string;
  private readonly firstPort: number;

  constructor(
    private readonly scenario: Scenario,
    place: number,
  ) {
    this.name = scenario.scheduler;
    this.firstPort = 24_000 + place * 50;
  }

  /** From here on its workers die. Before: in stories that begin with another scheduler's work. */
  async armed(): Promise<void> {
    const { dying, steps, edge, onlyTurningBack, cancelAt } = this.scenario;
    const isCancelPoint = (boundary: Boundary): boolean =>
      cancelAt !== undefined &&
      boundary.definition === cancelAt.definition &&
      boundary.step === cancelAt.step &&
      // Both sides: what waits here waits for certain.
      (boundary.edge === cancelAt.edge || boundary.step === 'waiting');
    const chosen = boundaries.filter(
      (boundary) =>
        dying.includes(boundary.definition) &&
        (steps === undefined || steps.includes(boundary.step)) &&
        (edge === undefined || boundary.edge === edge) &&
        (!onlyTurningBack || turningBack(boundary.step) || isCancelPoint(boundary)),
    );
    traps.arm(chosen.map((boundary) => ({ ...boundary, scheduler: this.name })));
  }

  /** With its workers dying from the start. */
  async create(request: { roomsReplicas: number }): Promise<void> {
    await this.armed();
    await this.post(request);
  }

  async createdWithRooms(request: { roomsReplicas: number; command?: string[] }): Promise<void> {
    await this.post(request);
    await eventually(() => expect(this.roomIds()).toHaveLength(request.roomsReplicas), patience);
    await this.quiet();
  }

  /** With exactly the operations that this takes, each once, and exactly the rooms that were chosen. */
  async comesUp(roomsReplicas: number): Promise<void> {
    await this.create({ roomsReplicas });
    const order = await this.ended('add_rooms');
    await this.quiet();
    expect(await this.visible()).toEqual([
      'create_scheduler finished',
      'health_controller finished',
      'add_rooms finished',
    ]);
    expect(this.roomIds()).toEqual([...(order.progress['roomIds'] as string[])].sort());
    expect(this.roomIds()).toHaveLength(roomsReplicas);
  }

  newVersion(command: string[], { roomsReplicas }: { roomsReplicas: number } = { roomsReplicas: 1 }): Promise<string> {
    return this.order('POST', schedulerRequest(this.name, { roomsReplicas, command, firstPort: this.firstPort }));
  }

  async shrink(roomsReplicas: number): Promise<void> {
    await this.order('PATCH', { roomsReplicas });
  }

  delete(): Promise<string> {
    return this.order('DELETE');
  }

  async order(method: string, body?: unknown): Promise<string> {
    const answer = await cluster.call<{ operationId: string }>(method, `/schedulers/${this.name}`, body);
    expect(answer).toEqual({ status: 200, body: { operationId: expect.any(String) } });
    return answer.body.operationId;
  }

  /** Waits for the death at `cancelAt`, and cancels the operation that it interrupted. */
  async cancels(): Promise<void> {
    const { operationId } = await eventually(() => {
      const point = this.scenario.cancelAt!;
      const found = this.deaths().find(
        ({ definition, step, edge }) => definition === point.definition && step === point.step && edge === point.edge,
      );
      if (found === undefined) throw new Error(`no worker died ${point.edge} ${point.step} of ${point.definition}`);
      return found;
    }, patience);
    const path = `/schedulers/${this.name}/operations/${operationId}/cancel`;
    expect(await cluster.call('POST', path, {})).toEqual({ status: 200, body: {} });
  }

  /** By its id, or the first one of its kind. */
  async ended(which: string): Promise<StoredOperation> {
    return eventually(async () => {
      const all = await this.operations();
      const found = all.find(({ id, definition }) => id === which || definition === which);
      if (found === undefined) throw new Error(`no ${which} of ${this.name} among ${all.map(tell).join('\n')}`);
      if (openStatuses.includes(found.status)) throw new Error(tell(found));
      return found;
    }, patience);
  }

  /** Waits until nothing is pending or in progress. */
  async quiet(): Promise<void> {
    await eventually(async () => {
      const open = (await this.operations()).filter(({ status }) => openStatuses.includes(status));
      if (open.length > 0) throw new Error(open.map(tell).join('\n'));
    }, patience);
  }

  async staysAsItWas(rooms: number): Promise<void> {
    expect(await this.stored()).toMatchObject({ state: 'in-sync', version: 'v1.0.0', versions: ['v1.0.0'] });
    await eventually(() => {
      expect(this.rooms()).toHaveLength(rooms);
      expect(this.rooms().every(({ version, validation }) => version === 'v1.0.0' && !validation)).toBe(true);
    }, patience);
  }

  /** Kinds and ends of what clients see. */
  async visible(): Promise<string[]> {
    const shown = (await this.operations()).filter(({ hidden }) => !hidden);
    return shown.map(({ definition, status }) => `${definition} ${status}`);
  }

  operations(): Promise<StoredOperation[]> {
    return cluster.operations(this.name);
  }

  stored() {
    return cluster.scheduler(this.name);
  }

  rooms() {
    return cluster.rooms(this.name);
  }

  roomIds(): string[] {
    return this.rooms().map(({ id }) => id);
  }

  hasPlace(): boolean {
    return cluster.placesOfSchedulers().includes(this.name);
  }

  /** Where its workers died. */
  deaths(): SprungTrap[] {
    return traps.sprung().filter(({ scheduler }) => scheduler === this.name);
  }

  private async post({ roomsReplicas, command = silentRoom }: { roomsReplicas: number; command?: string[] }) {
    const request = schedulerRequest(this.name, { roomsReplicas, command, firstPort: this.firstPort });
    expect((await cluster.call('POST', '/schedulers', request)).status).toBe(200);
  }
}

/**
 * Workers are killed at every boundary of every step of every kind of operation; another worker goes on. All stories run side
 * by side, each on its own scheduler, so a death also interrupts whatever else its process did.
 */
describe('when workers are killed at every step', () => {
  const running = new Map<string, Promise<void>>();
  const schedulers = new Map<string, Scheduler>();
  let workers: WorkerPool;

  beforeAll(async () => {
    traps = new StepTraps();
    cluster = await MaestroCluster.start();
    // The place of a scheduler that belongs to somebody else.
    const place = join(cluster.state.path, 'runtime', 'rooms', 'refused');
    mkdirSync(place, { recursive: true });
    writeFileSync(
      join(place, '_scheduler.json'),
      JSON.stringify({ name: 'refused', owner: 'another', deleting: false }),
    );
    workers = await cluster.startWorkers(3, { ...hastyTimes, ...roomsThatNeverReport, ...traps.environment });
    for (const [index, [title, scenario]] of Object.entries(scenarios).entries()) {
      const scheduler = new Scheduler(scenario, index);
      schedulers.set(title, scheduler);
      const story = scenario.story(scheduler);
      story.catch(() => undefined);
      running.set(title, story);
    }
  }, 90_000);

  afterAll(async () => {
    await Promise.allSettled(running.values());
    await cluster.stop();
    traps.remove();
  }, 180_000);

  it.each(Object.keys(scenarios))(
    '%s',
    async (title) => {
      const scheduler = schedulers.get(title)!;
      try {
        await running.get(title);
      } catch (error) {
        const deaths = scheduler.deaths().map(({ definition, step, edge }) => `${edge} ${step} of ${definition}`);
        const operations = (await scheduler.operations()).map(tell);
        (error as Error).message += `\n\ndeaths:\n${deaths.join('\n')}\n\noperations:\n${operations.join('\n')}`;
        throw error;
      }
    },
    150_000,
  );

  it('every boundary that there is was the death of a worker', () => {
    const place = ({ definition, step, edge }: Boundary): string => `${edge} ${step} of ${definition}`;
    const reached = new Set(traps.sprung().map(place));
    expect(boundaries.map(place).filter((each) => !reached.has(each))).toEqual([]);
  });

  it('every operation that was interrupted tells of it, and ended once', async () => {
    const interrupted = new Set(
      traps
        .sprung()
        // What has ended, or waits, is nobody's: its next worker resumes nothing.
        .filter(({ step, edge }) => edge === 'before' || (step !== 'ended' && step !== 'waiting'))
        .map(({ operationId }) => operationId),
    );
    await cluster.settled(60_000);
    const operations = await cluster.operations();
    expect(operations.filter(({ id }) => interrupted.has(id))).toHaveLength(interrupted.size);
    for (const operation of operations.filter(({ events }) => events.includes('Starting operation'))) {
      const count = (pattern: RegExp): number => operation.events.filter((event) => pattern.test(event)).length;
      expect({ [tell(operation)]: count(/^Operation finished$/) }).toEqual({ [tell(operation)]: 1 });
      expect(count(/^Starting operation$/)).toBeLessThanOrEqual(1);
      if (interrupted.has(operation.id)) {
        expect({ [tell(operation)]: count(/^Resuming operation/) > 0 }).toEqual({ [tell(operation)]: true });
      }
    }
  }, 90_000);

  it('no slot is held, no scheduler stays creating, no validation room is left', async () => {
    await cluster.settled(60_000);
    expect((await cluster.operations()).filter(({ holdsSlot }) => holdsSlot)).toEqual([]);
    const stored = await cluster.schedulers();
    expect(stored.filter(({ state }) => state !== 'in-sync')).toEqual([]);
    expect(stored.flatMap(({ name }) => cluster.rooms(name)).filter(({ validation }) => validation)).toEqual([]);
    expect(workers.crashes).toEqual([]);
  }, 90_000);
});
