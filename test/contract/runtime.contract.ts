import { DomainError } from '../../src/domain/errors';
import type { Instance } from '../../src/domain/room/room';
import type { InstanceChange, InstanceSpec, InstanceWatcher, Runtime } from '../../src/ports/runtime';
import { eventually } from '../support/eventually';

/** A runtime and the hands of whatever plays the machine beneath it. */
export interface RuntimeUnderTest {
  runtime: Runtime;
  /** Another client of the same instances, as another role's process has. */
  anotherClient(): Runtime;
  /** A spec that this runtime can run, in scheduler `arena`; ports get these host ports, named `game`, `query`, ... */
  spec(
    id: string,
    changes?: Partial<InstanceSpec> & { hostPorts?: { protocol: string; hostPort: number }[] },
  ): InstanceSpec;
  /** Host ports that nothing uses. */
  freePorts(count: number): Promise<number[]>;
  /** The instance comes up; where instances do so by themselves there is nothing to do. */
  becomeReady(id: string): Promise<void>;
  /** The instance ends by itself, as in a crash. */
  crash(id: string): Promise<void>;
  /** A deletion that was asked may come to its end. */
  letEnd(id: string): Promise<void>;
  /** Others have something in the place of this scheduler. Absent where nobody else can have. */
  sharePlace?(scheduler: string): Promise<void>;
  /** All watches have a gap. */
  interruptWatches(): Promise<void>;
  /** A runtime of this kind that cannot reach what it needs. */
  unreachable(): Promise<Runtime>;
  /** How long news may take. */
  patienceMs: number;
  dispose(): Promise<void>;
}

class Witness implements InstanceWatcher {
  readonly lists: Instance[][] = [];
  readonly changes: InstanceChange[] = [];
  /** What it is told, applied as a watcher does. */
  readonly known = new Map<string, Instance>();

  async onList(instances: Instance[]): Promise<void> {
    this.lists.push(instances);
    this.known.clear();
    for (const instance of instances) this.known.set(instance.id, instance);
  }

  async onChange(change: InstanceChange): Promise<void> {
    this.changes.push(change);
    if (change.type === 'gone') this.known.delete(change.instance.id);
    else this.known.set(change.instance.id, change.instance);
  }

  of(id: string): InstanceChange[] {
    return this.changes.filter((change) => change.instance.id === id);
  }
}

/** What every implementation of `Runtime` promises. One `describe` per call, one test per promise. */
export function describeRuntimeContract(
  name: string,
  open: () => Promise<RuntimeUnderTest>,
  {
    hostPorts: hostPortsAre = 'refused when taken',
    places: placesAre = 'ours alone',
  }: {
    /** Where an instance's machine is chosen later, whether its ports are free there is not known when it is made. */
    hostPorts?: 'refused when taken' | 'left to the cluster';
    /** Whether others may have things in the place of a scheduler. */
    places?: 'ours alone' | 'shared with others';
  } = {},
): void {
  const itWhereRefused = hostPortsAre === 'refused when taken' ? it : it.skip;
  const itWhereShared = placesAre === 'shared with others' ? it : it.skip;

  describe(`runtime contract: ${name}`, () => {
    let world: RuntimeUnderTest;
    let runtime: Runtime;
    let watches: { stop: AbortController; done: Promise<void> }[];

    beforeEach(async () => {
      watches = [];
      world = await open();
      runtime = world.runtime;
    });

    afterEach(async () => {
      for (const watch of watches) watch.stop.abort();
      await Promise.all(watches.map((watch) => watch.done));
      await world.dispose();
    });

    const soon = <T>(check: () => T | Promise<T>) => eventually(check, { timeoutMs: world.patienceMs });

    function watch<W extends InstanceWatcher>(watcher: W, client: Runtime = runtime): W & { stop(): Promise<void> } {
      const stop = new AbortController();
      const done = client.watchInstances(watcher, stop.signal);
      watches.push({ stop, done });
      return Object.assign(watcher, {
        stop: () => {
          stop.abort();
          return done;
        },
      });
    }

    async function failureOf(call: Promise<unknown>): Promise<DomainError> {
      const error: unknown = await call.then(
        () => new Error('it did not fail'),
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(DomainError);
      return error as DomainError;
    }

    async function ready(id: string): Promise<Instance> {
      await world.becomeReady(id);
      return soon(async () => {
        const instance = (await runtime.listInstances()).find((candidate) => candidate.id === id);
        expect(instance?.status).toBe('ready');
        return instance as Instance;
      });
    }

    const ids = (instances: Instance[]) => instances.map(({ id }) => id).sort();

    it('has a name for log lines', () => {
      expect(runtime.kind).toMatch(/^[a-z]+$/);
    });

    describe('createScheduler', () => {
      it('makes the place', async () => {
        expect(await runtime.createScheduler('arena', 'operation-1')).toBe('created');
      });

      it('is already ours for the same owner', async () => {
        await runtime.createScheduler('arena', 'operation-1');
        expect(await runtime.createScheduler('arena', 'operation-1')).toBe('already_ours');
      });

      it('refuses a place of another owner', async () => {
        await runtime.createScheduler('arena', 'operation-1');
        const error = await failureOf(runtime.createScheduler('arena', 'operation-2'));
        expect(error).toMatchObject({ kind: 'already_exists', code: 'runtime.scheduler_exists' });
      });

      it('lets one of two owners win who ask at once', async () => {
        const other = world.anotherClient();
        const outcomes = await Promise.allSettled([
          runtime.createScheduler('arena', 'operation-1'),
          other.createScheduler('arena', 'operation-2'),
        ]);
        expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      });
    });

    describe('ensureScheduler', () => {
      it('makes a place where there is none, in which instances start', async () => {
        expect(await runtime.ensureScheduler('arena', 'operation-1')).toBe('created');
        expect(await runtime.createInstance(world.spec('arena-1'))).toMatchObject({ id: 'arena-1' });
        expect(await runtime.createScheduler('arena', 'operation-1')).toBe('already_ours');
      });

      it('leaves the place alone that is there, whoever made it', async () => {
        await runtime.createScheduler('arena', 'operation-1');
        await runtime.createInstance(world.spec('arena-1'));
        for (const owner of ['operation-1', 'operation-2']) {
          expect(await runtime.ensureScheduler('arena', owner)).toBe('there');
          expect(await world.anotherClient().ensureScheduler('arena', owner)).toBe('there');
        }
        expect(ids(await runtime.listInstances())).toEqual(['arena-1']);
        expect(await runtime.createScheduler('arena', 'operation-1')).toBe('already_ours');
      });

      it('makes one place for two who ask at once', async () => {
        const outcomes = await Promise.all([
          runtime.ensureScheduler('arena', 'operation-1'),
          world.anotherClient().ensureScheduler('arena', 'operation-2'),
        ]);
        expect(outcomes.sort()).toEqual(['created', 'there']);
      });

      it('asks to try again later while the place goes, and makes it when it is gone', async () => {
        await runtime.createScheduler('arena', 'o');
        await runtime.createInstance(world.spec('arena-1', { terminationGracePeriodMs: 3_600_000 }));
        await ready('arena-1');
        await runtime.deleteScheduler('arena');
        const outcome = await runtime.ensureScheduler('arena', 'operation-2').catch((error: unknown) => error);
        // A process of this machine may be gone at once.
        if (outcome !== 'created') {
          expect(outcome).toMatchObject({ kind: 'unavailable', code: 'runtime.scheduler_being_deleted' });
        }
        await world.letEnd('arena-1');
        await soon(() => runtime.ensureScheduler('arena', 'operation-2'));
        expect(await runtime.createInstance(world.spec('arena-2'))).toMatchObject({ id: 'arena-2' });
      });
    });

    describe('deleteScheduler', () => {
      itWhereShared('leaves a place standing in which others have something, and says why', async () => {
        await runtime.createScheduler('arena', 'operation-1');
        for (const id of ['arena-1', 'arena-2']) await runtime.createInstance(world.spec(id));
        await Promise.all(['arena-1', 'arena-2'].map(ready));
        await world.sharePlace!('arena');
        const removal = await runtime.deleteScheduler('arena');
        expect(removal).toEqual({ left: expect.stringMatching(/^\w+ arena is left standing\b.*: /) });
        const statuses = async () => (await runtime.listInstances('arena')).map(({ status }) => status);
        await soon(async () => expect(await statuses()).toEqual(['terminating', 'terminating']));
        const late = await failureOf(world.anotherClient().createInstance(world.spec('arena-3')));
        expect(late).toMatchObject({ code: 'runtime.scheduler_not_found' });
        for (const id of ['arena-1', 'arena-2']) await world.letEnd(id);
        await soon(async () => expect(await runtime.listInstances('arena')).toEqual([]));
        // Nothing is left to do, however often it is asked.
        await runtime.deleteScheduler('arena');
      });

      itWhereShared('lets the next scheduler of the name have the place that was left standing', async () => {
        for (const operation of ['operation-1', 'operation-2']) {
          expect(await runtime.createScheduler('arena', operation)).toBe('created');
          expect(await runtime.createScheduler('arena', operation)).toBe('already_ours');
          await failureOf(runtime.createScheduler('arena', 'another operation'));
          await runtime.createInstance(world.spec(`arena-of-${operation}`));
          await ready(`arena-of-${operation}`);
          await world.sharePlace!('arena');
          expect(await runtime.deleteScheduler('arena')).toHaveProperty('left');
          await world.letEnd(`arena-of-${operation}`);
        }
        expect(await runtime.ensureScheduler('arena', 'operation-3')).toBe('created');
        expect(await runtime.deleteScheduler('arena', 'operation-2')).toBe('not_found');
      });

      it('says that there is none', async () => {
        expect(await runtime.deleteScheduler('nobody')).toBe('not_found');
      });

      it('ends all instances in it without waiting, and no others', async () => {
        await runtime.createScheduler('arena', 'o');
        await runtime.createScheduler('other', 'o');
        await runtime.createInstance(world.spec('arena-1'));
        await runtime.createInstance(world.spec('arena-2'));
        await runtime.createInstance(world.spec('other-1', { scheduler: 'other' }));
        await Promise.all(['arena-1', 'arena-2', 'other-1'].map(ready));
        const witness = watch(new Witness());
        await soon(() => expect(witness.lists).toHaveLength(1));

        expect(await runtime.deleteScheduler('arena')).toBe('deleting');
        await soon(() => {
          for (const id of ['arena-1', 'arena-2']) expect(witness.of(id).at(0)?.instance.status).toBe('terminating');
        });
        await Promise.all(['arena-1', 'arena-2'].map((id) => world.letEnd(id)));
        await soon(() => expect([...witness.known.keys()]).toEqual(['other-1']));
        expect(witness.of('other-1')).toEqual([]);
      });

      it('may be asked again', async () => {
        await runtime.createScheduler('arena', 'o');
        await runtime.createInstance(world.spec('arena-1'));
        await runtime.deleteScheduler('arena');
        expect(['deleting', 'not_found']).toContain(await runtime.deleteScheduler('arena'));
      });

      it('takes no new instances while it goes', async () => {
        await runtime.createScheduler('arena', 'o');
        await runtime.createInstance(world.spec('arena-1'));
        await runtime.deleteScheduler('arena');
        await expect(runtime.createInstance(world.spec('arena-2'))).rejects.toBeInstanceOf(DomainError);
        expect(ids(await runtime.listInstances())).not.toContain('arena-2');
      });

      it('makes room for a new owner when everything is gone', async () => {
        await runtime.createScheduler('arena', 'operation-1');
        await runtime.createInstance(world.spec('arena-1'));
        await ready('arena-1');
        await runtime.deleteScheduler('arena');
        await world.letEnd('arena-1');
        await soon(async () => expect(await runtime.createScheduler('arena', 'operation-2')).toBe('created'));
        expect(await runtime.listInstances('arena')).toEqual([]);
      });

      it("leaves another owner's place alone", async () => {
        await runtime.createScheduler('arena', 'operation-1');
        await runtime.createInstance(world.spec('arena-1'));
        await runtime.deleteScheduler('arena', 'operation-2').catch(() => 'refused');
        expect(await runtime.createScheduler('arena', 'operation-1')).toBe('already_ours');
        expect(await ready('arena-1')).toMatchObject({ status: 'ready' });
      });

      it("removes the given owner's place", async () => {
        await runtime.createScheduler('arena', 'operation-1');
        expect(await runtime.deleteScheduler('arena', 'operation-1')).toBe('deleting');
        await soon(async () => expect(await runtime.deleteScheduler('arena')).toBe('not_found'));
      });
    });

    describe('createInstance', () => {
      beforeEach(() => runtime.createScheduler('arena', 'o'));

      it('answers what is known right then', async () => {
        const beforeMs = Date.now();
        const instance = await runtime.createInstance(world.spec('arena-1', { version: 'v2.1.0', validation: true }));
        expect(instance).toMatchObject({ id: 'arena-1', scheduler: 'arena', version: 'v2.1.0', validation: true });
        expect(['pending', 'ready']).toContain(instance.status);
        // Clocks of clusters tell whole seconds.
        expect(instance.createdAtMs).toBeGreaterThan(beforeMs - 2_000);
        expect(instance.createdAtMs).toBeLessThan(Date.now() + 2_000);
      });

      it('brings it up with its host ports as address', async () => {
        const [game = 0, query = 0] = await world.freePorts(2);
        const hostPorts = [
          { protocol: 'udp', hostPort: game },
          { protocol: 'tcp', hostPort: query },
          { protocol: 'tcp', hostPort: 0 },
        ];
        await runtime.createInstance(world.spec('arena-1', { hostPorts }));
        const { address } = await ready('arena-1');
        expect(address?.host).not.toBe('');
        expect(address?.ports).toEqual([
          { name: 'game', protocol: 'UDP', port: game },
          { name: 'query', protocol: 'TCP', port: query },
        ]);
      });

      it('refuses an id that exists', async () => {
        await runtime.createInstance(world.spec('arena-1'));
        const error = await failureOf(runtime.createInstance(world.spec('arena-1')));
        expect(error).toMatchObject({ kind: 'already_exists', code: 'runtime.instance_exists' });
        expect(await runtime.listInstances()).toHaveLength(1);
      });

      it('makes one of two that are asked at once with one id', async () => {
        const other = world.anotherClient();
        const outcomes = await Promise.allSettled([
          runtime.createInstance(world.spec('arena-1')),
          other.createInstance(world.spec('arena-1')),
        ]);
        expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      });

      it('refuses without a place for the scheduler', async () => {
        const error = await failureOf(runtime.createInstance(world.spec('lost-1', { scheduler: 'lost' })));
        expect(error).toMatchObject({ kind: 'not_found', code: 'runtime.scheduler_not_found' });
      });

      itWhereRefused('refuses host ports that another instance has, and names them', async () => {
        const [held = 0, free = 0] = await world.freePorts(2);
        await runtime.createInstance(world.spec('arena-1', { hostPorts: [{ protocol: 'udp', hostPort: held }] }));
        const hostPorts = [
          { protocol: 'udp', hostPort: free },
          { protocol: 'udp', hostPort: held },
        ];
        const error = await failureOf(runtime.createInstance(world.spec('arena-2', { hostPorts })));
        expect(error).toMatchObject({ kind: 'resource_exhausted', code: 'runtime.host_port_taken' });
        expect(error.details).toMatchObject({ ports: [held] });
        expect(ids(await runtime.listInstances())).toEqual(['arena-1']);
      });

      itWhereRefused('gives a port once when two ask for it at once', async () => {
        const [port = 0] = await world.freePorts(1);
        const hostPorts = [{ protocol: 'udp', hostPort: port }];
        const outcomes = await Promise.allSettled(
          ['arena-1', 'arena-2'].map((id) => runtime.createInstance(world.spec(id, { hostPorts }))),
        );
        expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      });

      it('tells protocols apart', async () => {
        const [port = 0] = await world.freePorts(1);
        await runtime.createInstance(world.spec('arena-1', { hostPorts: [{ protocol: 'udp', hostPort: port }] }));
        await runtime.createInstance(world.spec('arena-2', { hostPorts: [{ protocol: 'tcp', hostPort: port }] }));
        expect(ids(await runtime.listInstances())).toEqual(['arena-1', 'arena-2']);
      });

      it('gives a port again when its instance is gone', async () => {
        const [port = 0] = await world.freePorts(1);
        const hostPorts = [{ protocol: 'udp', hostPort: port }];
        await runtime.createInstance(world.spec('arena-1', { hostPorts }));
        await ready('arena-1');
        await runtime.deleteInstance('arena', 'arena-1', 'scale_down');
        await world.letEnd('arena-1');
        await soon(() => runtime.createInstance(world.spec('arena-2', { hostPorts })));
      });

      it('leaves nothing behind of an instance that it refused', async () => {
        const [port = 0] = await world.freePorts(1);
        const hostPorts = [{ protocol: 'udp', hostPort: port }];
        await failureOf(runtime.createInstance(world.spec('lost-1', { scheduler: 'lost', hostPorts })));
        expect(await runtime.createInstance(world.spec('arena-1', { hostPorts }))).toMatchObject({ id: 'arena-1' });
      });
    });

    describe('deleteInstance', () => {
      beforeEach(() => runtime.createScheduler('arena', 'o'));

      it('says that there is none', async () => {
        expect(await runtime.deleteInstance('arena', 'arena-9', 'scale_down')).toBe('not_found');
        expect(await runtime.deleteInstance('nobody', 'arena-9', 'scale_down')).toBe('not_found');
      });

      it("does not find another scheduler's instance", async () => {
        await runtime.createScheduler('other', 'o');
        await runtime.createInstance(world.spec('arena-1'));
        expect(await runtime.deleteInstance('other', 'arena-1', 'scale_down')).toBe('not_found');
        expect((await ready('arena-1')).status).toBe('ready');
      });

      it('begins to end it, which is seen as terminating and then as gone', async () => {
        await runtime.createInstance(world.spec('arena-1'));
        await ready('arena-1');
        const witness = watch(new Witness());
        await soon(() => expect(witness.lists).toHaveLength(1));
        expect(await runtime.deleteInstance('arena', 'arena-1', 'scale_down')).toBe('deleting');
        await soon(() => expect(witness.of('arena-1').at(0)?.instance.status).toBe('terminating'));
        await world.letEnd('arena-1');
        await soon(() => expect(witness.of('arena-1').at(-1)?.type).toBe('gone'));
        expect(await runtime.listInstances()).toEqual([]);
        expect(await runtime.deleteInstance('arena', 'arena-1', 'scale_down')).toBe('not_found');
      });

      it('may be asked again, by another client too', async () => {
        await runtime.createInstance(world.spec('arena-1'));
        await ready('arena-1');
        await runtime.deleteInstance('arena', 'arena-1', 'scale_down');
        const again = await world.anotherClient().deleteInstance('arena', 'arena-1', 'expired_room');
        expect(['deleting', 'not_found']).toContain(again);
      });

      it('ends an instance that is not up yet', async () => {
        await runtime.createInstance(world.spec('arena-1'));
        expect(await runtime.deleteInstance('arena', 'arena-1', 'scale_down')).toBe('deleting');
        await world.letEnd('arena-1');
        await soon(async () => expect(await runtime.listInstances()).toEqual([]));
      });

      it('never shows a terminating instance as ready again', async () => {
        await runtime.createInstance(world.spec('arena-1'));
        const witness = watch(new Witness());
        await soon(() => expect(witness.lists).toHaveLength(1));
        await runtime.deleteInstance('arena', 'arena-1', 'scale_down');
        await world.letEnd('arena-1');
        await soon(() => expect(witness.known.size).toBe(0));
        const statuses = witness.of('arena-1').map(({ instance }) => instance.status);
        const afterTerminating = statuses.slice(statuses.indexOf('terminating'));
        expect(afterTerminating).not.toContain('ready');
        expect(afterTerminating).not.toContain('pending');
      });
    });

    describe('listInstances', () => {
      it('says what exists, of one scheduler or of all', async () => {
        expect(await runtime.listInstances()).toEqual([]);
        for (const scheduler of ['arena', 'other']) await runtime.createScheduler(scheduler, 'o');
        await runtime.createInstance(world.spec('arena-1'));
        await runtime.createInstance(world.spec('arena-2'));
        await runtime.createInstance(world.spec('other-1', { scheduler: 'other' }));
        expect(ids(await runtime.listInstances())).toEqual(['arena-1', 'arena-2', 'other-1']);
        expect(ids(await runtime.listInstances('arena'))).toEqual(['arena-1', 'arena-2']);
        expect(await runtime.listInstances('nobody')).toEqual([]);
      });

      it('says the same to every client', async () => {
        await runtime.createScheduler('arena', 'o');
        await runtime.createInstance(world.spec('arena-1'));
        await ready('arena-1');
        expect(await world.anotherClient().listInstances()).toEqual(await runtime.listInstances());
      });
    });

    describe('watchInstances', () => {
      beforeEach(() => runtime.createScheduler('arena', 'o'));

      it('begins with a list of all, which may be empty', async () => {
        const early = watch(new Witness());
        await soon(() => expect(early.lists).toEqual([[]]));
        await runtime.createInstance(world.spec('arena-1'));
        await ready('arena-1');
        const late = watch(new Witness());
        await soon(() => expect(late.lists.map(ids)).toEqual([['arena-1']]));
        expect(late.lists[0]?.[0]).toMatchObject({ status: 'ready', version: 'v1.0.0', validation: false });
      });

      it('tells of instances that come up, whoever made them', async () => {
        const witness = watch(new Witness());
        await soon(() => expect(witness.lists).toHaveLength(1));
        await world.anotherClient().createInstance(world.spec('arena-1'));
        await ready('arena-1');
        await soon(() => expect(witness.known.get('arena-1')?.status).toBe('ready'));
        expect(witness.of('arena-1').map(({ instance }) => instance.status)).toEqual(['pending', 'ready']);
      });

      it('tells of a crash with what was last known, within two seconds', async () => {
        const [port = 0] = await world.freePorts(1);
        await runtime.createInstance(
          world.spec('arena-1', { version: 'v3.0.0', hostPorts: [{ protocol: 'udp', hostPort: port }] }),
        );
        await ready('arena-1');
        const witness = watch(new Witness());
        await soon(() => expect(witness.lists).toHaveLength(1));
        await world.crash('arena-1');
        const last = await eventually(
          () => {
            expect(witness.of('arena-1').at(-1)?.type).toBe('gone');
            return witness.of('arena-1').at(-1)?.instance;
          },
          { timeoutMs: 2_000 },
        );
        expect(last).toMatchObject({ scheduler: 'arena', version: 'v3.0.0', address: { ports: [{ port }] } });
      });

      it("tells an instance's changes in order, with growing generations", async () => {
        const witness = watch(new Witness());
        await soon(() => expect(witness.lists).toHaveLength(1));
        await runtime.createInstance(world.spec('arena-1'));
        await ready('arena-1');
        await runtime.deleteInstance('arena', 'arena-1', 'scale_down');
        await world.letEnd('arena-1');
        await soon(() => expect(witness.of('arena-1').at(-1)?.type).toBe('gone'));
        const statuses = witness.of('arena-1').map(({ instance }) => instance.status);
        expect(statuses.slice(0, 3)).toEqual(['pending', 'ready', 'terminating']);
        const generations = witness.of('arena-1').map(({ instance }) => instance.generation);
        expect(generations).toEqual([...new Set(generations)].sort((a, b) => a - b));
      });

      it('waits for the list to be handled before it tells changes', async () => {
        const order: string[] = [];
        let letGo: () => void = () => undefined;
        const handled = new Promise<void>((resolve) => (letGo = resolve));
        watch({
          onList: async () => {
            order.push('list begins');
            await handled;
            order.push('list ends');
          },
          onChange: async () => void order.push('change'),
        });
        await soon(() => expect(order).toEqual(['list begins']));
        await runtime.createInstance(world.spec('arena-1'));
        await ready('arena-1');
        expect(order).toEqual(['list begins']);
        letGo();
        await soon(() => expect(order.slice(0, 3)).toEqual(['list begins', 'list ends', 'change']));
      });

      it('lets no slow instance hold up another, and keeps the order of the slow one', async () => {
        const told: string[] = [];
        let letGo: () => void = () => undefined;
        const slow = new Promise<void>((resolve) => (letGo = resolve));
        let lists = 0;
        watch({
          onList: async () => void lists++,
          onChange: async ({ type, instance }) => {
            if (instance.id === 'arena-1') await slow;
            told.push(`${instance.id} ${type === 'gone' ? 'gone' : instance.status}`);
          },
        });
        await soon(() => expect(lists).toBe(1));
        await runtime.createInstance(world.spec('arena-1'));
        await runtime.createInstance(world.spec('arena-2'));
        await Promise.all(['arena-1', 'arena-2'].map(ready));
        await soon(() => expect(told).toEqual(['arena-2 pending', 'arena-2 ready']));
        letGo();
        await soon(() => expect(told.slice(2)).toEqual(['arena-1 pending', 'arena-1 ready']));
      });

      it('goes on when a handler throws', async () => {
        const witness = new Witness();
        let lists = 0;
        watch({
          onList: async (instances) => {
            lists++;
            await witness.onList(instances);
          },
          onChange: async (change) => {
            if (change.instance.id === 'arena-1') throw new Error('this handler never works');
            await witness.onChange(change);
          },
        });
        await soon(() => expect(lists).toBe(1));
        await runtime.createInstance(world.spec('arena-1'));
        await runtime.createInstance(world.spec('arena-2'));
        await world.becomeReady('arena-1');
        await ready('arena-2');
        await soon(() => expect(witness.known.get('arena-2')?.status).toBe('ready'));
      });

      it('lists anew after a gap, and goes on', async () => {
        await runtime.createInstance(world.spec('arena-1'));
        await ready('arena-1');
        const witness = watch(new Witness());
        await soon(() => expect(witness.lists).toHaveLength(1));
        await world.interruptWatches();
        await soon(() => expect(witness.lists.length).toBeGreaterThanOrEqual(2));
        expect(ids(witness.lists.at(-1) ?? [])).toEqual(['arena-1']);
        await runtime.createInstance(world.spec('arena-2'));
        await ready('arena-2');
        await soon(() => expect(witness.known.get('arena-2')?.status).toBe('ready'));
      });

      it('tells every watcher, of every client', async () => {
        const here = watch(new Witness());
        const there = watch(new Witness(), world.anotherClient());
        await soon(() => expect([here.lists.length, there.lists.length]).toEqual([1, 1]));
        await runtime.createInstance(world.spec('arena-1'));
        await ready('arena-1');
        await soon(() => {
          for (const { known } of [here, there]) expect(known.get('arena-1')?.status).toBe('ready');
        });
      });

      it('resolves when aborted and tells nothing after that', async () => {
        const witness = watch(new Witness());
        await soon(() => expect(witness.lists).toHaveLength(1));
        await witness.stop();
        await runtime.createInstance(world.spec('arena-1'));
        await ready('arena-1');
        expect(witness.changes).toEqual([]);
      });

      it('resolves at once with a signal that was aborted before', async () => {
        const witness = new Witness();
        await runtime.watchInstances(witness, AbortSignal.abort());
        expect(witness.lists).toEqual([]);
      });
    });

    describe('protectInstance', () => {
      const isProtected = async () => (await runtime.listInstances()).map((one) => one.isProtected);

      it('has an instance say so until it is told otherwise, and may be asked the same again', async () => {
        await runtime.createScheduler('arena', 'o');
        await runtime.createInstance(world.spec('arena-1'));
        for (const value of [false, true, true, false, false]) {
          expect(await runtime.protectInstance('arena', 'arena-1', value)).toBe('done');
          expect(await isProtected()).toEqual([runtime.movesInstances ? value : null]);
        }
      });

      it('says that there is none', async () => {
        await runtime.createScheduler('arena', 'o');
        await runtime.createInstance(world.spec('arena-1'));
        if (!runtime.movesInstances) return;
        expect(await runtime.protectInstance('arena', 'arena-2', true)).toBe('not_found');
        expect(await runtime.protectInstance('other', 'arena-1', true)).toBe('not_found');
        expect(await isProtected()).toEqual([false]);
      });
    });

    describe('setDisruptionBudget', () => {
      it('may be asked again and again, and for a scheduler that is gone', async () => {
        await runtime.createScheduler('arena', 'o');
        for (const count of [0, 3, 3, 1]) await runtime.setDisruptionBudget('arena', count);
        await runtime.setDisruptionBudget('nowhere', 3);
      });
    });

    describe('close', () => {
      it('leaves instances running', async () => {
        await runtime.createScheduler('arena', 'o');
        await runtime.createInstance(world.spec('arena-1'));
        const before = await ready('arena-1');
        const other = world.anotherClient();
        await runtime.close();
        expect(await other.listInstances()).toEqual([before]);
      });

      it('ends the watches of this client', async () => {
        const witness = watch(new Witness());
        await soon(() => expect(witness.lists).toHaveLength(1));
        await runtime.close();
        await witness.stop();
      });
    });

    describe('when what it needs cannot be reached', () => {
      it('fails each call as unavailable', async () => {
        const lost = await world.unreachable();
        const calls: (() => Promise<unknown>)[] = [
          () => lost.createScheduler('arena', 'o'),
          () => lost.ensureScheduler('arena', 'o'),
          () => lost.deleteScheduler('arena'),
          () => lost.createInstance(world.spec('arena-1')),
          () => lost.deleteInstance('arena', 'arena-1', 'scale_down'),
          () => lost.listInstances(),
        ];
        for (const call of calls) expect((await failureOf(call())).kind).toBe('unavailable');
        await lost.close();
      });

      it('keeps a watch waiting until it is aborted', async () => {
        const lost = await world.unreachable();
        const witness = watch(new Witness(), lost);
        await failureOf(lost.listInstances());
        await witness.stop();
        expect(witness.lists).toEqual([]);
        await lost.close();
      });
    });
  });
}
