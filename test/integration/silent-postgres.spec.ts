import { connectPostgres } from '../../src/adapters/postgres/data-source';
import { PostgresListener } from '../../src/adapters/postgres/postgres-listener';
import { PostgresOperationStore } from '../../src/adapters/postgres/postgres-operation-store';
import { PostgresUnitOfWork } from '../../src/adapters/postgres/postgres-unit-of-work';
import type { HeldOperation } from '../../src/ports/operation-store';
import { eventually } from '../support/eventually';
import { openPostgres, type PostgresUnderTest } from '../support/open-postgres';
import { RecordedLog } from '../support/recorded-log';
import { TcpGate } from '../support/tcp-gate';

const channel = 'maestro_test';
const unavailable = { kind: 'unavailable', code: 'postgres.unavailable' };
/** Twice the server's patience, and the way there and back. */
const patience = { timeoutMs: 20_000, everyMs: 50 };

/** A process whose connections nothing comes through any more, though they stay open: a host that vanished, a network that drops. */
describe('connections to PostgreSQL that fall silent', () => {
  let postgres: PostgresUnderTest;
  let gate: Awaited<ReturnType<typeof TcpGate.start>>;
  let url: string;
  let unitOfWork: PostgresUnitOfWork;
  const closers: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    postgres = await openPostgres();
  });
  afterAll(() => postgres.close());
  beforeEach(async () => {
    await postgres.clear();
    const behind = new URL(postgres.url);
    gate = await TcpGate.start(Number(behind.port));
    behind.port = String(gate.port);
    url = behind.href;
    unitOfWork = new PostgresUnitOfWork(await connect());
  });
  afterEach(async () => {
    postgres.server.resume();
    for (const close of closers.splice(0).reverse()) await close();
    await gate.stop();
  });

  async function connect() {
    const dataSource = await connectPostgres({
      url,
      poolSize: 1,
      applicationName: 'test-silent',
      onIdleError: () => undefined,
      statementTimeoutMs: 2_000,
    });
    closers.push(() => dataSource.destroy());
    return dataSource;
  }

  const answers = () => unitOfWork.rows('SELECT 1 AS one');

  it('fail a statement, and the next one goes over a new connection', async () => {
    gate.freeze();
    await expect(answers()).rejects.toMatchObject(unavailable);
    expect(await answers()).toEqual([{ one: 1 }]);
  });

  it('fail a transaction once, without a word of farewell to wait for', async () => {
    gate.freeze();
    await expect(unitOfWork.run(answers)).rejects.toMatchObject(unavailable);
    expect(await unitOfWork.run(answers)).toEqual([{ one: 1 }]);
  });

  it('keep no operation from the worker that takes it over, also in the middle of a transaction', async () => {
    const { operations } = postgres;
    await operations.insert({ scheduler: 'arena', definition: 'add_rooms', input: { amount: 1 }, actor: 'api' });
    const vanishing = new PostgresOperationStore(unitOfWork, postgres.listener);
    const held = (await vanishing.claimNext('arena', 'vanishing', 1))!;
    const taken = unitOfWork.run(async (): Promise<HeldOperation> => {
      await vanishing.assertHeld(held);
      gate.freeze();
      return eventually(async () => {
        const next = await operations.claimNext('arena', 'next', 60_000);
        if (next === null) throw new Error('its row is still locked');
        return next;
      }, patience);
    });
    // Until the commit, which its server has not waited for.
    await expect(taken).rejects.toMatchObject(unavailable);
    const [row] = await postgres.sql('SELECT lease_owner, attempt FROM maestro.operations');
    expect(row).toEqual({ lease_owner: 'next', attempt: 2 });
  });

  describe('when they only listen', () => {
    const heartbeatMs = 300;
    let heard: (string | null)[];
    let log: RecordedLog;
    let stop: AbortController;
    let following: Promise<void>;

    beforeEach(async () => {
      heard = [];
      log = new RecordedLog();
      stop = new AbortController();
      following = new PostgresListener(url, log, heartbeatMs).follow(channel, (each) => heard.push(each), stop.signal);
      await eventually(() => expect(heard).toEqual([null]), patience);
    });
    afterEach(async () => {
      stop.abort();
      await following;
    });

    it('are made anew, and it is told that something may have been missed', async () => {
      gate.freeze();
      await eventually(() => expect(heard).toEqual([null, null]), patience);
      await postgres.sql(`SELECT pg_notify('${channel}', 'arena')`);
      await eventually(() => expect(heard).toEqual([null, null, 'arena']), patience);
      expect(log.lines).toEqual([expect.objectContaining({ level: 'warn' })]);
    });

    it('stay as they are for as long as the server answers', async () => {
      const { accepted } = gate;
      for (const name of ['one', 'two', 'three']) {
        const { bytes } = gate;
        await eventually(() => expect(gate.bytes).toBeGreaterThan(bytes), patience);
        await postgres.sql(`SELECT pg_notify('${channel}', '${name}')`);
      }
      await eventually(() => expect(heard).toEqual([null, 'one', 'two', 'three']), patience);
      expect(gate.accepted).toBe(accepted);
      expect(log.lines).toEqual([]);
    });

    it('end when they are told to, without their server', async () => {
      // Not through the gate, which would end what its client ends.
      const direct = new AbortController();
      const told: (string | null)[] = [];
      const listener = new PostgresListener(postgres.url, log, 60_000);
      const ended = listener.follow(channel, (each) => told.push(each), direct.signal);
      await eventually(() => expect(told).toEqual([null]), patience);
      postgres.server.pause();
      direct.abort();
      await ended;
    });
  });
});
