import { getEventListeners } from 'node:events';
import { DomainError } from '../../src/domain/errors';
import type { OperationInputs } from '../../src/domain/operation/operation';
import type { SchedulerState } from '../../src/domain/scheduler/scheduler';
import { fullExtensions } from '../../src/domain/scheduler/scheduler.fixture';
import type { HeldOperation } from '../../src/ports/operation-store';
import { aSchedulerDefinition } from '../support/a-scheduler-definition';
import { eventually } from '../support/eventually';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';

// A database starts first, which takes its time on a busy machine.
jest.setTimeout(60_000);

let postgres: PostgresUnderTest;

beforeAll(async () => {
  postgres = await openPostgres();
});
afterAll(() => postgres.close());
beforeEach(() => postgres.clear());

const create = (name: string, changes: Parameters<typeof aSchedulerDefinition>[0] = {}) =>
  postgres.schedulers.createScheduler(name, aSchedulerDefinition(changes));

describe('the scheduler store on PostgreSQL', () => {
  it('creates a scheduler with its first version, in state creating', async () => {
    const definition = aSchedulerDefinition({
      labels: { team: 'päyments "x"' },
      autoscaling: {
        enabled: true,
        min: 1,
        max: -1,
        cooldown: 0,
        policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.1, downThreshold: 0.99 } } },
      },
      spec: { terminationGracePeriodNs: 1_500_000_001 },
      extensions: fullExtensions(),
    });
    const created = await postgres.schedulers.createScheduler('arena', definition);
    expect(created).toEqual({
      name: 'arena',
      state: 'creating',
      version: 'v1.0.0',
      rollbackVersion: '',
      createdAt: expect.any(Date),
      versionCreatedAt: expect.any(Date),
      lastDownscaleAt: null,
      definition,
    });
    expect(await postgres.schedulers.getScheduler('arena')).toEqual(created);
    expect(await postgres.schedulers.listVersions('arena')).toEqual([
      { version: 'v1.0.0', isActive: true, createdAt: expect.any(Date) },
    ]);
  });

  it('refuses a name that is taken and leaves the scheduler that has it as it is', async () => {
    await create('arena', { game: 'first' });
    expect(await create('arena', { game: 'second' })).toBe('exists');
    expect((await postgres.schedulers.getScheduler('arena'))?.definition.game).toBe('first');
  });

  it('gives a name to one of many who ask at once', async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, () => create('arena')));
    expect(answers.filter((answer) => answer === 'exists')).toHaveLength(9);
  });

  it('finds the active version, or a named one, or nothing', async () => {
    await create('arena');
    await postgres.sql(
      `INSERT INTO maestro.scheduler_versions (scheduler_name, version, definition, rollback_version, created_at)
       VALUES ('arena', 'v1.1.0', $1, 'v1.0.0', now() + interval '1 minute')`,
      [aSchedulerDefinition({ roomsReplicas: 8 })],
    );
    const { schedulers } = postgres;
    expect((await schedulers.getScheduler('arena'))?.definition.roomsReplicas).toBe(3);
    expect(await schedulers.getScheduler('arena', 'v1.1.0')).toMatchObject({
      version: 'v1.1.0',
      rollbackVersion: 'v1.0.0',
      state: 'creating',
      definition: { roomsReplicas: 8 },
    });
    expect(await schedulers.getScheduler('arena', 'v2.0.0')).toBeNull();
    expect(await schedulers.getScheduler('nobody')).toBeNull();
    expect(await schedulers.getScheduler('nobody', 'v1.0.0')).toBeNull();
    expect(await schedulers.listVersions('arena')).toMatchObject([
      { version: 'v1.1.0', isActive: false },
      { version: 'v1.0.0', isActive: true },
    ]);
    expect(await schedulers.listVersions('nobody')).toEqual([]);
  });

  describe('lists', () => {
    beforeEach(async () => {
      await create('charlie', { game: 'chess' });
      await create('alpha', { game: 'chess' });
      await create('bravo', { game: 'go' });
    });

    it.each([
      ['all, in order of names, without a filter', {}, ['alpha', 'bravo', 'charlie']],
      ['those of a game', { game: 'chess' }, ['alpha', 'charlie']],
      ['the one with a name', { name: 'bravo' }, ['bravo']],
      ['those with an active version', { version: 'v1.0.0' }, ['alpha', 'bravo', 'charlie']],
      ['only what passes every filter', { name: 'bravo', game: 'chess' }, []],
      ['no partial names', { name: 'brav' }, []],
      ['no patterns', { game: '%' }, []],
    ])('%s', async (_, filter, names) => {
      expect((await postgres.schedulers.listSchedulers(filter)).map(({ name }) => name)).toEqual(names);
    });

    it('what the paths of pings and events need', async () => {
      const options = { timeoutMs: 1_000, metadata: { roomType: 'green', list: [1, null] } };
      const forwarders = [{ name: 'matchmaker', enabled: true, type: 'gRPC', address: 'host:1', options }];
      const spec = { affinity: 'arcade', toleration: 'games' };
      await create('delta', { game: 'go', matchAllocation: { maxMatches: 12 }, forwarders, spec });
      const settings = await postgres.schedulers.listSettings();
      expect(settings).toHaveLength(4);
      expect(settings).toContainEqual({
        name: 'delta',
        game: 'go',
        maxMatches: 12,
        activeVersion: 'v1.0.0',
        isAutoscaled: false,
        placement: { affinity: 'arcade', toleration: 'games' },
        isTerminating: false,
        forwarders,
      });
      await postgres.schedulers.setState('delta', 'terminating');
      expect(await postgres.schedulers.listSettings()).toContainEqual(
        expect.objectContaining({ name: 'delta', isTerminating: true }),
      );
    });
  });

  describe('the automation', () => {
    const automation = () => postgres.schedulers.readAutomation('arena');

    it('runs until it is paused, and since when, by whom and why it was is kept', async () => {
      await create('arena');
      expect(await automation()).toEqual({ paused: null, isBroughtBack: false, activeForMs: null, activatedFrom: '' });
      expect(await postgres.schedulers.pauseAutomation('arena', { by: 'ann', reason: 'a fair' })).toBe(true);
      const { paused } = (await automation())!;
      expect(paused).toEqual({ since: expect.any(Date), by: 'ann', reason: 'a fair' });
      expect(await postgres.schedulers.pauseAutomation('arena', { by: 'bob', reason: '' })).toBe(true);
      expect((await automation())!.paused).toEqual({ since: paused!.since, by: 'bob', reason: '' });
      for (let times = 0; times < 2; times++) {
        expect(await postgres.schedulers.resumeAutomation('arena')).toBe(true);
        expect((await automation())!.paused).toBeNull();
      }
    });

    it('is nobody’s where the scheduler is unknown', async () => {
      expect(await automation()).toBeNull();
      expect(await postgres.schedulers.pauseAutomation('arena', { by: 'ann', reason: '' })).toBe(false);
      expect(await postgres.schedulers.resumeAutomation('arena')).toBe(false);
    });

    it('knows a version that a rollback brought back until another one is activated, or the same for another reason', async () => {
      await create('arena');
      const definition = aSchedulerDefinition({ maxSurge: '9' });
      await postgres.schedulers.addVersion('arena', { version: 'v1.1.0', definition, rollbackVersion: 'v1.0.0' });
      await postgres.schedulers.activateVersion('arena', 'v1.1.0');
      expect(await automation()).toMatchObject({
        isBroughtBack: false,
        activeForMs: expect.any(Number),
        activatedFrom: 'v1.0.0',
      });
      await postgres.schedulers.activateVersion('arena', 'v1.1.0');
      expect(await automation()).toMatchObject({ activatedFrom: 'v1.0.0' });
      await postgres.schedulers.activateVersion('arena', 'v1.0.0', { isRollback: true });
      expect(await automation()).toMatchObject({ isBroughtBack: true });
      await postgres.schedulers.activateVersion('arena', 'v1.0.0');
      expect(await automation()).toMatchObject({ isBroughtBack: false });
      await postgres.schedulers.activateVersion('arena', 'v1.0.0', { isRollback: true });
      // As a process of the release before does it, which does not know the mark.
      await postgres.sql(`UPDATE maestro.schedulers SET version = 'v1.1.0'`);
      expect(await automation()).toMatchObject({ isBroughtBack: false });
    });

    it('says for how long the active version has been that', async () => {
      await create('arena');
      await postgres.schedulers.activateVersion('arena', 'v1.0.0');
      await postgres.sql(`UPDATE maestro.schedulers SET activated_at = activated_at - interval '1 h'`);
      const { activeForMs } = (await automation())!;
      expect(activeForMs).toBeGreaterThanOrEqual(3_600_000);
      expect(activeForMs).toBeLessThan(3_660_000);
    });
  });

  describe('a state', () => {
    it('is set, and says whether it was', async () => {
      await create('arena');
      expect(await postgres.schedulers.setState('arena', 'in-sync')).toBe(true);
      expect((await postgres.schedulers.getScheduler('arena'))?.state).toBe('in-sync');
      expect(await postgres.schedulers.setState('nobody', 'in-sync')).toBe(false);
    });

    it.each<SchedulerState>(['creating', 'in-sync', 'on-error', 'terminating'])(
      'never goes from terminating to %s',
      async (state) => {
        await create('arena');
        expect(await postgres.schedulers.setState('arena', 'terminating')).toBe(true);
        expect(await postgres.schedulers.setState('arena', state)).toBe(false);
        expect((await postgres.schedulers.getScheduler('arena'))?.state).toBe('terminating');
      },
    );
  });

  describe('a version', () => {
    const add = (
      version: string,
      changes: Parameters<typeof aSchedulerDefinition>[0] = {},
      rollbackVersion = 'v1.0.0',
    ) =>
      postgres.schedulers.addVersion('arena', { version, definition: aSchedulerDefinition(changes), rollbackVersion });
    const active = async () => (await postgres.schedulers.getScheduler('arena'))!;

    beforeEach(() => create('arena'));

    it('is stored beside the active one, which stays', async () => {
      const before = await active();
      await add('v1.1.0', { roomsReplicas: 8 });
      expect(await active()).toEqual({ ...before, versionCreatedAt: expect.any(Date) });
      expect(await postgres.schedulers.getScheduler('arena', 'v1.1.0')).toMatchObject({
        version: 'v1.1.0',
        rollbackVersion: 'v1.0.0',
        definition: { roomsReplicas: 8 },
      });
      expect((await postgres.schedulers.listVersions('arena')).map(({ version }) => version)).toEqual([
        'v1.1.0',
        'v1.0.0',
      ]);
    });

    it('is stored once, also when many store it at once', async () => {
      const answers = await Promise.allSettled(
        Array.from({ length: 10 }, (_, index) => add('v1.1.0', { roomsReplicas: index })),
      );
      expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      const kept = await postgres.schedulers.getScheduler('arena', 'v1.1.0');
      await expect(add('v1.1.0', { roomsReplicas: 99 })).rejects.toMatchObject({
        kind: 'already_exists',
        code: 'scheduler.version_exists',
        message: 'version v1.1.0 of scheduler arena exists already',
      });
      expect(await postgres.schedulers.getScheduler('arena', 'v1.1.0')).toEqual(kept);
    });

    it('is the newest by the time at which it was stored, however long its transaction took', async () => {
      const other = await postgres.another();
      await postgres.unitOfWork.run(async () => {
        await postgres.unitOfWork.rows('SELECT now()');
        await other.schedulers.addVersion('arena', {
          version: 'v1.1.0',
          definition: aSchedulerDefinition(),
          rollbackVersion: 'v1.0.0',
        });
        await add('v1.2.0');
      });
      expect((await postgres.schedulers.listVersions('arena')).map(({ version }) => version)).toEqual([
        'v1.2.0',
        'v1.1.0',
        'v1.0.0',
      ]);
    });

    it('is made the active one with everything it says, and the scheduler in-sync', async () => {
      const changes = { game: 'chess', roomsReplicas: 8, matchAllocation: { maxMatches: 5 }, labels: { team: 'red' } };
      const downscaledAt = new Date('2026-05-01T10:00:00.123Z');
      await postgres.schedulers.setLastDownscale('arena', downscaledAt);
      await add('v2.0.0', changes, 'v1.4.0');
      expect(await postgres.schedulers.activateVersion('arena', 'v2.0.0')).toBe(true);
      expect(await active()).toMatchObject({
        version: 'v2.0.0',
        rollbackVersion: 'v1.4.0',
        state: 'in-sync',
        definition: aSchedulerDefinition(changes),
        lastDownscaleAt: downscaledAt,
      });
      expect(await postgres.schedulers.listVersions('arena')).toMatchObject([
        { version: 'v2.0.0', isActive: true },
        { version: 'v1.0.0', isActive: false },
      ]);
      expect((await postgres.schedulers.findVersions('arena', {})).sort()).toEqual(['v1.0.0', 'v2.0.0']);
      expect(await postgres.schedulers.findVersions('arena', { nobody: 'has it' })).toEqual([]);
      expect((await postgres.schedulers.listSchedulers({ game: 'chess', version: 'v2.0.0' })).length).toBe(1);
      const unplaced = { placement: { affinity: '', toleration: '' }, isTerminating: false };
      expect(await postgres.schedulers.listSettings()).toEqual([
        {
          ...unplaced,
          name: 'arena',
          game: 'chess',
          maxMatches: 5,
          activeVersion: 'v2.0.0',
          isAutoscaled: false,
          forwarders: [],
        },
      ]);
      expect(await postgres.schedulers.activateVersion('arena', 'v1.0.0')).toBe(true);
      expect(await active()).toMatchObject({
        version: 'v1.0.0',
        rollbackVersion: '',
        definition: aSchedulerDefinition(),
      });
    });

    it('is the newest where an empty one is asked for', async () => {
      await add('v9.0.0');
      await add('v1.1.0');
      expect(await postgres.schedulers.activateVersion('arena', '')).toBe(true);
      expect((await active()).version).toBe('v1.1.0');
    });

    it('leaves a scheduler terminating that is being deleted', async () => {
      await add('v1.1.0');
      await postgres.schedulers.setState('arena', 'terminating');
      expect(await postgres.schedulers.activateVersion('arena', 'v1.1.0')).toBe(true);
      expect(await active()).toMatchObject({ version: 'v1.1.0', state: 'terminating' });
    });

    it.each([
      ['an unknown version', 'arena', 'v7.0.0'],
      ['part of a version', 'arena', 'v1'],
      ['the version of an unknown scheduler', 'nobody', 'v1.0.0'],
      ['the newest version of an unknown scheduler', 'nobody', ''],
    ])('changes nothing when it is %s', async (_, name, version) => {
      const before = await active();
      expect(await postgres.schedulers.activateVersion(name, version)).toBe(false);
      expect(await active()).toEqual(before);
    });
  });

  describe('opening again what was about to be deleted', () => {
    const insert = async <D extends 'create_scheduler' | 'delete_scheduler'>(
      definition: D,
      input: OperationInputs[D],
    ): Promise<string> =>
      (await postgres.operations.insert({ scheduler: 'arena', definition, input, actor: 'api' }))!.id;
    const insertDeletion = () => insert('delete_scheduler', {});
    const take = async (): Promise<HeldOperation> => (await postgres.operations.claimNext('arena', 'me', 60_000))!;
    const cancel = (id: string) => postgres.operations.cancel('arena', id, 'changed my mind');
    const fail = async (): Promise<void> =>
      postgres.operations.finish(await take(), { status: 'error', hidden: false, event: null });
    const stateAfterReopen = async (): Promise<SchedulerState | undefined> => {
      await postgres.schedulers.reopen('arena');
      return (await postgres.schedulers.getScheduler('arena'))?.state;
    };

    beforeEach(async () => {
      await create('arena');
      await postgres.schedulers.setState('arena', 'terminating');
    });

    it.each<[string, () => Promise<unknown>, SchedulerState]>([
      ['is in-sync when the deletion never began', async () => cancel(await insertDeletion()), 'in-sync'],
      [
        'is creating while the scheduler has still to be created',
        async () => {
          await insert('create_scheduler', { scheduler: {} });
          await cancel(await insertDeletion());
        },
        'creating',
      ],
      ['stays terminating while a deletion is pending', insertDeletion, 'terminating'],
      ['stays terminating while a deletion runs', async () => insertDeletion().then(take), 'terminating'],
      ['stays terminating after a deletion that failed', async () => insertDeletion().then(fail), 'terminating'],
      [
        'stays terminating when the repetition of a failed deletion never began',
        async () => {
          await insertDeletion().then(fail);
          await cancel(await insertDeletion());
        },
        'terminating',
      ],
    ])('%s', async (_, prepare, state) => {
      await prepare();
      expect(await stateAfterReopen()).toBe(state);
    });

    it('does not look at the deletion of an earlier scheduler of the name', async () => {
      await insertDeletion().then(fail);
      await postgres.schedulers.deleteScheduler((await postgres.schedulers.getScheduler('arena'))!);
      await create('arena');
      await postgres.schedulers.setState('arena', 'terminating');
      expect(await stateAfterReopen()).toBe('in-sync');
    });

    it('leaves what is not about to be deleted as it is', async () => {
      await postgres.schedulers.deleteScheduler((await postgres.schedulers.getScheduler('arena'))!);
      await create('arena');
      expect(await stateAfterReopen()).toBe('creating');
      await postgres.schedulers.reopen('nobody');
      expect(await postgres.schedulers.getScheduler('nobody')).toBeNull();
    });
  });

  describe('deciding alone', () => {
    const waiting = () =>
      postgres.sql(`SELECT FROM pg_stat_activity WHERE application_name = 'test-stores' AND wait_event = 'advisory'`);

    it.each([
      ['is kept', false],
      ['is rolled back', true],
    ])('waits until the unit of work before it %s, and then sees what it left', async (_, isRolledBack) => {
      const other = await postgres.another();
      await create('arena');
      let second: Promise<SchedulerState | undefined> = Promise.resolve(undefined);
      await other.unitOfWork
        .run(async () => {
          await other.schedulers.decideAlone('arena');
          second = postgres.unitOfWork.run(async () => {
            await postgres.schedulers.decideAlone('arena');
            return (await postgres.schedulers.getScheduler('arena'))?.state;
          });
          await eventually(async () => expect(await waiting()).toHaveLength(1));
          await other.schedulers.setState('arena', 'on-error');
          if (isRolledBack) throw new Error('changed my mind');
        })
        .catch(() => undefined);
      expect(await second).toBe(isRolledBack ? 'creating' : 'on-error');
    });

    it('keeps nobody waiting who decides about another scheduler, or works on this one', async () => {
      const other = await postgres.another();
      await create('arena');
      await other.unitOfWork.run(async () => {
        await other.schedulers.decideAlone('arena');
        await postgres.unitOfWork.run(async () => {
          await postgres.schedulers.decideAlone('other');
          await postgres.schedulers.setState('arena', 'in-sync');
        });
      });
      expect((await postgres.schedulers.getScheduler('arena'))?.state).toBe('in-sync');
    });
  });

  it('writes the last downscale alone', async () => {
    await create('arena');
    const at = new Date('2026-05-01T10:00:00.123Z');
    await postgres.schedulers.setLastDownscale('arena', at);
    expect(await postgres.schedulers.getScheduler('arena')).toMatchObject({ lastDownscaleAt: at, state: 'creating' });
  });

  it('deletes a scheduler with its versions, again without effect', async () => {
    await create('arena');
    await create('other');
    const scheduler = (await postgres.schedulers.getScheduler('arena'))!;
    expect(await postgres.schedulers.deleteScheduler(scheduler)).toBe(true);
    expect(await postgres.schedulers.deleteScheduler(scheduler)).toBe(false);
    expect(await postgres.schedulers.getScheduler('arena')).toBeNull();
    expect(await postgres.sql('SELECT scheduler_name FROM maestro.scheduler_versions')).toEqual([
      { scheduler_name: 'other' },
    ]);
    expect(await create('arena')).not.toBe('exists');
  });

  it('deletes no newer scheduler of the same name', async () => {
    await create('arena');
    const former = (await postgres.schedulers.getScheduler('arena'))!;
    await postgres.schedulers.deleteScheduler(former);
    await postgres.sql(`SELECT pg_sleep(0.002)`);
    await create('arena');
    expect(await postgres.schedulers.deleteScheduler(former)).toBe(false);
    expect(await postgres.schedulers.getScheduler('arena')).not.toBeNull();
  });
});

describe('the changes of schedulers', () => {
  let heard: (string | null)[];
  let stop: AbortController;
  let watching: Promise<void>;

  beforeEach(async () => {
    heard = [];
    stop = new AbortController();
    watching = postgres.schedulers.watchChanges((name) => heard.push(name), stop.signal);
    await eventually(() => expect(heard).toEqual([null]));
    heard = [];
  });
  afterEach(async () => {
    stop.abort();
    await watching;
  });

  it('are heard in another connection: created, changed and deleted', async () => {
    const other = await postgres.another();
    await other.schedulers.createScheduler('arena', aSchedulerDefinition());
    await eventually(() => expect(heard).toEqual(['arena']));
    await other.schedulers.setState('arena', 'in-sync');
    await eventually(() => expect(heard).toEqual(['arena', 'arena']));
    await other.schedulers.deleteScheduler((await other.schedulers.getScheduler('arena'))!);
    await eventually(() => expect(heard).toEqual(['arena', 'arena', 'arena']));
  });

  it('are heard of versions that become active, and of what is opened again; a version alone changes nothing', async () => {
    await create('arena');
    await postgres.schedulers.addVersion('arena', {
      version: 'v1.1.0',
      definition: aSchedulerDefinition(),
      rollbackVersion: 'v1.0.0',
    });
    await postgres.schedulers.activateVersion('arena', 'v7.0.0');
    await postgres.schedulers.reopen('arena');
    await postgres.sql(`SELECT pg_notify('maestro_schedulers', 'between')`);
    await eventually(() => expect(heard).toEqual(['arena', 'between']));
    await postgres.schedulers.activateVersion('arena', 'v1.1.0');
    await eventually(() => expect(heard).toHaveLength(3));
    await postgres.schedulers.setState('arena', 'terminating');
    await eventually(() => expect(heard).toHaveLength(4));
    await postgres.schedulers.reopen('arena');
    await eventually(() => expect(heard).toHaveLength(5));
  });

  it('are heard when they are committed, and not when they are rolled back', async () => {
    await expect(
      postgres.unitOfWork.run(async () => {
        await create('lost');
        throw new Error('changed my mind');
      }),
    ).rejects.toThrow('changed my mind');
    await postgres.unitOfWork.run(async () => {
      await create('kept');
      // Another connection hears what comes after, but nothing of this transaction yet.
      await postgres.sql(`SELECT pg_notify('maestro_schedulers', 'between')`);
      await eventually(() => expect(heard).toEqual(['between']));
    });
    await eventually(() => expect(heard).toEqual(['between', 'kept']));
  });

  it('may have been missed when the listening connection was lost: null, and everything after it is heard', async () => {
    expect(await postgres.killConnections('maestro-listen')).toBe(1);
    await eventually(() => expect(heard).toEqual([null]));
    await create('arena');
    await eventually(() => expect(heard).toEqual([null, 'arena']));
    expect(postgres.log.lines).toEqual([]);
  });

  it('are heard again however often the connection is lost, and no listener piles up', async () => {
    const listeners = getEventListeners(stop.signal, 'abort').length;
    for (let round = 1; round <= 2; round++) {
      await postgres.killConnections('maestro-listen');
      await eventually(() => expect(heard).toHaveLength(round));
    }
    expect(heard).toEqual([null, null]);
    expect(getEventListeners(stop.signal, 'abort')).toHaveLength(listeners);
  });

  it('leave no connection behind when the watch ends', async () => {
    stop.abort();
    await watching;
    await eventually(async () => {
      const left = await postgres.sql(`SELECT pid FROM pg_stat_activity WHERE application_name = 'maestro-listen'`);
      expect(left).toEqual([]);
    });
  });
});

describe('a unit of work', () => {
  it('keeps the writes of every store inside, or none', async () => {
    await expect(
      postgres.unitOfWork.run(async () => {
        await create('arena');
        await postgres.operations.insert({
          scheduler: 'arena',
          definition: 'create_scheduler',
          input: { scheduler: {} },
          actor: 'api',
        });
        expect(await postgres.operations.isBusy('arena')).toBe(true);
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await postgres.schedulers.getScheduler('arena')).toBeNull();
    expect(await postgres.operations.isBusy('arena')).toBe(false);
    expect(await postgres.sql('SELECT * FROM maestro.operation_events')).toEqual([]);
  });

  it('is joined by a nested one, which rolls back with it', async () => {
    await expect(
      postgres.unitOfWork.run(async () => {
        await postgres.unitOfWork.run(() => create('inner'));
        throw new Error('outer fails');
      }),
    ).rejects.toThrow('outer fails');
    expect(await postgres.schedulers.getScheduler('inner')).toBeNull();
  });

  it('does not leak into work that runs beside it', async () => {
    let goOn = (): void => undefined;
    const held = new Promise<void>((resolve) => (goOn = resolve));
    const unit = postgres.unitOfWork.run(async () => {
      await create('inside');
      await held;
    });
    await eventually(async () => {
      const [row] = await postgres.sql<{ count: string }>(
        `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test-stores' AND state = 'idle in transaction'`,
      );
      expect(row?.count).toBe('1');
    });
    expect(await postgres.schedulers.getScheduler('inside')).toBeNull();
    await create('beside');
    goOn();
    await unit;
    expect((await postgres.schedulers.listSchedulers({})).map(({ name }) => name)).toEqual(['beside', 'inside']);
  });

  it('answers what the work answers', async () => {
    expect(await postgres.unitOfWork.run(async () => 7)).toBe(7);
  });

  it('says `unavailable` when the connection is lost inside, keeps nothing, and works again at once', async () => {
    const other = await postgres.another('test-to-kill');
    await expect(
      other.unitOfWork.run(async () => {
        await other.schedulers.createScheduler('arena', aSchedulerDefinition());
        await postgres.killConnections('test-to-kill');
        await other.schedulers.setState('arena', 'in-sync');
      }),
    ).rejects.toMatchObject({ kind: 'unavailable', code: 'postgres.unavailable' });
    expect(await other.schedulers.getScheduler('arena')).toBeNull();
    expect(await other.schedulers.createScheduler('arena', aSchedulerDefinition())).not.toBe('exists');
  });

  it('passes on what the work throws as it is', async () => {
    const error = new DomainError('already_exists', 'scheduler.exists', 'it exists');
    await expect(postgres.unitOfWork.run(() => Promise.reject(error))).rejects.toBe(error);
  });
});

describe('a failure of PostgreSQL', () => {
  const failWith = (code: string) => `DO $$ BEGIN RAISE EXCEPTION 'failed' USING ERRCODE = '${code}'; END $$`;

  it.each([
    ['a server that shuts down', failWith('57P01')],
    ['a server that starts', failWith('57P03')],
    ['a full server', failWith('53300')],
    ['a read-only server, as after a fail-over', 'SET TRANSACTION READ ONLY; DELETE FROM maestro.leases'],
    ['a deadlock', failWith('40P01')],
    ['a statement that takes too long', `SET LOCAL statement_timeout = 10; SELECT pg_sleep(5)`],
  ])('is unavailable: %s', async (_, statement) => {
    await expect(postgres.unitOfWork.run(() => postgres.unitOfWork.rows(statement))).rejects.toMatchObject({
      kind: 'unavailable',
      code: 'postgres.unavailable',
    });
  });

  it.each([
    ['a broken rule', failWith('23514')],
    ['a statement that is wrong', 'SELECT * FROM maestro.no_such_table'],
  ])('is a defect of ours: %s', async (_, statement) => {
    await expect(postgres.unitOfWork.rows(statement)).rejects.not.toBeInstanceOf(DomainError);
  });

  it('is unavailable while nobody listens, from every store', async () => {
    const own = await openPostgres();
    try {
      await own.stopServer();
      const refusals = [
        own.schedulers.listSettings(),
        own.operations.claimNext('arena', 'me', 1_000),
        own.leases.acquire('loop', 'me', 1_000),
        own.unitOfWork.run(() => own.schedulers.setState('arena', 'in-sync')),
      ];
      for (const refusal of await Promise.allSettled(refusals)) {
        expect(refusal).toMatchObject({
          status: 'rejected',
          reason: {
            kind: 'unavailable',
            code: 'postgres.unavailable',
            message: expect.stringContaining('cannot serve now'),
          },
        });
      }
    } finally {
      await own.close();
    }
  });
});
