import type { EventMessage } from '../../src/domain/event/event';
import type { EventForwarder } from '../../src/ports/event-forwarder';

/** A forwarder, and the hands of whatever plays the backends. */
export interface EventForwarderUnderTest {
  forwarder: EventForwarder;
  /** A backend that answers with this code and text; answers its address. */
  backend(
    conduct: { code: number; message: string } | 'never answers' | { fails: 'Internal'; reason: string },
  ): Promise<string>;
  /** An address where nobody listens. */
  nowhere(): Promise<string>;
  /** How many events came to a backend. */
  received(address: string): number;
  dispose(): Promise<void>;
}

const message: EventMessage = {
  type: 'roomEvent',
  room: { game: 'chess', roomId: 'room-1', host: 'h', port: 1, roomType: '', metadata: { a: 'b' } },
  event: 'roundStarts',
};

/** What every implementation of `EventForwarder` promises. */
export function describeEventForwarderContract(name: string, open: () => Promise<EventForwarderUnderTest>): void {
  describe(`event forwarder contract: ${name}`, () => {
    let world: EventForwarderUnderTest;
    const deliver = (address: string, timeoutMs = 5_000) => world.forwarder.deliver(message, { address, timeoutMs });

    beforeEach(async () => {
      world = await open();
    });
    afterEach(async () => {
      await world.forwarder.close();
      await world.dispose();
    });

    it.each([200, 404, 500, 0, -1])('delivers to a backend that answers %i, and says so', async (code) => {
      const address = await world.backend({ code, message: 'as you say' });
      expect(await deliver(address)).toEqual({
        delivered: true,
        responseCode: code,
        responseMessage: 'as you say',
      });
      expect(world.received(address)).toBe(1);
    });

    it('says what a backend failed with', async () => {
      const address = await world.backend({ fails: 'Internal', reason: 'it broke' });
      expect(await deliver(address)).toEqual({ delivered: false, code: 'Internal', reason: 'it broke' });
      expect(world.received(address)).toBe(1);
    });

    it('answers in time when the backend does not', async () => {
      const address = await world.backend('never answers');
      expect(await deliver(address, 50)).toMatchObject({ delivered: false, code: 'DeadlineExceeded' });
    });

    it.each([0, -5])('is late at once with a timeout of %i ms', async (timeoutMs) => {
      const address = await world.backend('never answers');
      expect(await deliver(address, timeoutMs)).toMatchObject({ delivered: false, code: 'DeadlineExceeded' });
    });

    it('does not mind a timeout that no timer can count', async () => {
      const address = await world.backend({ code: 200, message: '' });
      expect(await deliver(address, Number.MAX_SAFE_INTEGER)).toMatchObject({ delivered: true });
    });

    it('says that nobody listens', async () => {
      expect(await deliver(await world.nowhere())).toEqual({
        delivered: false,
        code: 'Unavailable',
        reason: expect.stringMatching(/./),
      });
    });

    it('fails without an address', async () => {
      expect(await deliver('')).toEqual({
        delivered: false,
        code: 'Unknown',
        reason: 'the forwarder has no address',
      });
    });

    it('lets no backend wait for another', async () => {
      const [silent, prompt] = [await world.backend('never answers'), await world.backend({ code: 200, message: '' })];
      const stuck = deliver(silent, 60_000);
      expect(await deliver(prompt)).toMatchObject({ delivered: true });
      await world.forwarder.close();
      expect(await stuck).toMatchObject({ delivered: false, code: 'Canceled' });
    });

    it('delivers nothing once it is closed', async () => {
      const address = await world.backend({ code: 200, message: '' });
      await world.forwarder.close();
      expect(await deliver(address)).toMatchObject({ delivered: false, code: 'Canceled' });
      expect(world.received(address)).toBe(0);
      await world.forwarder.close();
    });
  });
}
