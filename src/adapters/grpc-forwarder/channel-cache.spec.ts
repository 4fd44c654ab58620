import { eventually } from '../../../test/support/eventually';
import { ChannelCache, type ChannelCacheOptions } from './channel-cache';

class FakeChannel {
  lost = false;
  closed = 0;

  constructor(readonly address: string) {}

  isLost(): boolean {
    return this.lost;
  }

  close(): void {
    this.closed++;
  }
}

describe('the channels that are kept', () => {
  let opened: FakeChannel[];
  let cache: ChannelCache<FakeChannel>;

  const openCache = (options: Partial<ChannelCacheOptions> = {}): void => {
    opened = [];
    cache = new ChannelCache(
      (address) => {
        const channel = new FakeChannel(address);
        opened.push(channel);
        return channel;
      },
      { limit: 10, idleMs: 60_000, ...options },
    );
  };
  beforeEach(() => openCache());
  afterEach(() => cache.closeAll());

  const useOnce = (address: string) => cache.use(address, async (channel) => channel);

  /** Uses a channel until it is told to end. */
  const useForLong = (address: string) => {
    let end!: () => void;
    const used = cache.use(address, (channel) => new Promise<FakeChannel>((resolve) => (end = () => resolve(channel))));
    return { end: () => (end(), used) };
  };
  const closed = () => opened.filter((channel) => channel.closed > 0).map(({ address }) => address);

  it('are one for each address, used one after the other or at a time', async () => {
    const first = await useOnce('a');
    const long = useForLong('a');
    expect(await useOnce('a')).toBe(first);
    expect(await long.end()).toBe(first);
    expect(await useOnce('b')).not.toBe(first);
    expect(opened).toHaveLength(2);
    expect(closed()).toEqual([]);
  });

  it('are kept when their use fails', async () => {
    await expect(cache.use('a', () => Promise.reject(new Error('it broke')))).rejects.toThrow('it broke');
    await useOnce('a');
    expect(opened).toHaveLength(1);
  });

  it('end some time after their last use, and not during one', async () => {
    openCache({ idleMs: 5 });
    const long = useForLong('a');
    await useOnce('a');
    await useOnce('b');
    await eventually(() => expect(closed()).toEqual(['b']));
    expect(cache.size).toBe(1);
    await long.end();
    await eventually(() => expect(closed()).toEqual(['a', 'b']));
    expect(cache.size).toBe(0);
  });

  it('are no more than the limit: the one that was used longest ago ends', async () => {
    openCache({ limit: 2 });
    await useOnce('a');
    await useOnce('b');
    await useOnce('a');
    await useOnce('c');
    expect(closed()).toEqual(['b']);
    expect(cache.size).toBe(2);
  });

  it('are more than the limit only while they are used', async () => {
    openCache({ limit: 1 });
    const uses = ['a', 'b', 'c'].map(useForLong);
    expect(cache.size).toBe(3);
    for (const use of uses) await use.end();
    expect(closed()).toEqual(['a', 'b']);
    expect(cache.size).toBe(1);
  });

  it('are replaced when they are lost', async () => {
    const lost = await useOnce('a');
    lost.lost = true;
    expect(await useOnce('a')).not.toBe(lost);
    expect(lost.closed).toBe(1);
  });

  it('end with their last use when they are lost during it', async () => {
    const [one, other] = [useForLong('a'), useForLong('a')];
    opened[0]!.lost = true;
    const next = await useOnce('a');
    const lost = await one.end();
    expect([lost, lost.closed]).toEqual([opened[0], 0]);
    await other.end();
    expect([lost.closed, next.closed]).toEqual([1, 0]);
  });

  it('all end at once, those in use too', async () => {
    const long = useForLong('a');
    await useOnce('b');
    cache.closeAll();
    expect(closed()).toEqual(['a', 'b']);
    expect(cache.size).toBe(0);
    await long.end();
  });

  it('are not kept where none could be opened', async () => {
    const broken = new ChannelCache<FakeChannel>(
      () => {
        throw new Error('no such place');
      },
      { limit: 1, idleMs: 1 },
    );
    await expect(broken.use('a', async () => 1)).rejects.toThrow('no such place');
    expect(broken.size).toBe(0);
  });
});
