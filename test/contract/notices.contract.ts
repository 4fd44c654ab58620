import type { Notice, Notices } from '../../src/ports/notices';
import { eventually } from '../support/eventually';
import type { RecordedLog } from '../support/recorded-log';

export interface NoticesUnderTest {
  notices: Notices;
  /** Those of another process. */
  others: Notices;
  log: RecordedLog;
  /** Sends a text as the store sends a notice. Answers how many heard it. */
  send(address: string, text: string): Promise<number>;
  /** Breaks all connections that watch. */
  breakConnections(): void;
  /** Those connections hang from now on: they do not end, and nothing comes through. */
  freezeConnections(): void;
  close(): Promise<void>;
}

const draining: Notice = { kind: 'room_draining', scheduler: 'arena', room: 'room-1' };
const everyKind: Notice[] = [
  draining,
  { kind: 'room_terminating', scheduler: 'arena', room: 'room-1', reason: 'scale_down' },
  { kind: 'room_allocated', scheduler: 'arena', room: 'room-1', allocation: 'a-1', expiresAtMs: 1_714_557_600_123 },
  { kind: 'allocation_served', scheduler: 'arena', allocation: 'a-1' },
];

/** What every adapter of `Notices` promises. */
export function describeNotices(name: string, open: () => Promise<NoticesUnderTest>): void {
  describe(name, () => {
    let given: NoticesUnderTest;
    let stop: AbortController;
    let heard: Notice[];
    let watching: Promise<unknown>;

    beforeEach(async () => {
      given = await open();
      stop = new AbortController();
      heard = [];
      watching = Promise.resolve();
    });
    afterEach(async () => {
      stop.abort();
      await watching;
      await given.close();
    });

    const send = (notice: unknown, to: Notices = given.notices) => given.send(to.address, JSON.stringify(notice));

    /** Until the first one comes through, nobody is known to listen. */
    async function watch(onNotice = (notice: Notice) => void heard.push(notice)): Promise<void> {
      watching = given.notices.watch(onNotice, stop.signal);
      await eventually(async () => expect(await send({})).toBe(1));
    }

    it('tells of each notice that is sent to its address, in order', async () => {
      await watch();
      for (const notice of everyKind) await send(notice);
      await eventually(() => expect(heard).toEqual(everyKind));
    });

    it('has an address of its own, and hears nothing that is sent to another', async () => {
      expect(given.others.address).not.toBe(given.notices.address);
      await watch();
      expect(await send(draining, given.others)).toBe(0);
      await send(everyKind[1]);
      await eventually(() => expect(heard).toEqual([everyKind[1]]));
    });

    it.each([
      ['no JSON', '{"kind":'],
      ['no object', '7'],
      ['no kind', '{"scheduler":"arena","room":"room-1"}'],
      ['a kind that this release does not know', '{"kind":"toString","scheduler":"arena"}'],
      ['a field that is missing', '{"kind":"room_draining","scheduler":"arena"}'],
      ['a field of another type', '{"kind":"room_draining","scheduler":"arena","room":7}'],
    ])('skips and logs %s', async (_, text) => {
      await watch();
      await eventually(() => expect(given.log.lines.length).toBeGreaterThan(0));
      given.log.lines.length = 0;
      await given.send(given.notices.address, text);
      await send(draining);
      await eventually(() => expect(heard).toEqual([draining]));
      expect(given.log.lines).toMatchObject([{ level: 'warn', fields: { text } }]);
    });

    it('goes on after a listener that throws', async () => {
      await watch((notice) => {
        heard.push(notice);
        if (heard.length === 1) throw new Error('no');
      });
      await send(draining);
      await send(draining);
      await eventually(() => expect(heard).toEqual([draining, draining]));
      expect(given.log.lines).toContainEqual(expect.objectContaining({ level: 'error' }));
    });

    it.each(['broke', 'fell silent'])('hears again after its connection %s', async (how) => {
      await watch();
      if (how === 'broke') given.breakConnections();
      else given.freezeConnections();
      // What is sent meanwhile is lost.
      await eventually(
        async () => {
          await send(draining);
          expect(heard).toContainEqual(draining);
        },
        { timeoutMs: 10_000 },
      );
    });

    it('watches until it is told to stop, and not after', async () => {
      await watch();
      stop.abort();
      await watching;
      await eventually(async () => expect(await send(draining)).toBe(0));
      expect(heard).toEqual([]);
      await given.notices.watch(() => undefined, stop.signal);
    });
  });
}
