import { emptyFleetCounts } from '../../src/domain/room/count-fleet';
import { mostDesiredRooms, type DesiredRoomsWebhook, type FleetQuestion } from '../../src/ports/desired-rooms-webhook';
import { eventually } from '../support/eventually';

/** A webhook, and the hands of whatever plays the services. */
export interface DesiredRoomsWebhookUnderTest {
  webhook: DesiredRoomsWebhook;
  /** A service; answers its URL. One that talks otherwise wants to go on in another protocol, and says no more. */
  service(conduct: { desired: number } | 'never answers' | 'talks otherwise'): Promise<string>;
  /** A URL where nobody listens. */
  nowhere(): Promise<string>;
  /** How many questions came to a service. */
  received(url: string): number;
  dispose(): Promise<void>;
}

export const aQuestion: FleetQuestion = {
  scheduler: 'arena',
  version: 'v1.0.0',
  counts: emptyFleetCounts(),
  maxMatches: 1,
  roomsReplicas: 3,
  min: 1,
  max: -1,
  lastDesired: null,
};

/** What every implementation of `DesiredRoomsWebhook` promises. */
export function describeDesiredRoomsWebhookContract(
  name: string,
  open: () => Promise<DesiredRoomsWebhookUnderTest>,
): void {
  describe(`desired rooms webhook contract: ${name}`, () => {
    let world: DesiredRoomsWebhookUnderTest;
    const ask = (url: string, timeoutMs = 30_000, signal?: AbortSignal) =>
      world.webhook.ask({ url, timeoutMs }, aQuestion, signal);

    beforeEach(async () => {
      world = await open();
    });
    afterEach(async () => {
      await world.webhook.close();
      await world.dispose();
    });

    it.each([0, 12, mostDesiredRooms])('answers %i', async (desired) => {
      const url = await world.service({ desired });
      expect(await ask(url)).toEqual({ answered: true, desired });
      expect(world.received(url)).toBe(1);
    });

    it.each([-1, 1.5, mostDesiredRooms + 1])('takes no answer of %p', async (desired) => {
      const url = await world.service({ desired });
      expect(await ask(url)).toEqual({ answered: false, failure: 'bad_answer', detail: expect.any(String) });
    });

    it('says that nobody was reached', async () => {
      expect(await ask(await world.nowhere())).toMatchObject({ answered: false, failure: 'unreachable' });
    });

    it('takes no answer of a service that talks otherwise, and does not wait for another', async () => {
      const url = await world.service('talks otherwise');
      expect(await ask(url)).toMatchObject({ answered: false, failure: 'bad_status' });
      expect(world.received(url)).toBe(1);
    });

    it.each([50, 0])('gives up after %i ms', async (timeoutMs) => {
      const url = await world.service('never answers');
      expect(await ask(url, timeoutMs)).toMatchObject({ answered: false, failure: 'deadline_exceeded' });
    });

    it('takes a question back', async () => {
      const url = await world.service('never answers');
      const giveUp = new AbortController();
      const asked = ask(url, 30_000, giveUp.signal);
      await eventually(() => expect(world.received(url)).toBe(1));
      giveUp.abort();
      expect(await asked).toMatchObject({ answered: false, failure: 'canceled' });
    });

    it('does not ask what was taken back before', async () => {
      const url = await world.service({ desired: 1 });
      expect(await ask(url, 30_000, AbortSignal.abort())).toMatchObject({ answered: false, failure: 'canceled' });
      expect(world.received(url)).toBe(0);
    });

    it('takes everything back when it is closed, and asks nothing more', async () => {
      const url = await world.service('never answers');
      const asked = ask(url);
      await eventually(() => expect(world.received(url)).toBe(1));
      await world.webhook.close();
      expect(await asked).toMatchObject({ failure: 'canceled' });
      expect(await ask(url)).toMatchObject({ failure: 'canceled' });
      expect(world.received(url)).toBe(1);
    });
  });
}
