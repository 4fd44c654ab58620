import { ToldBlocks } from './told-blocks';

describe('ToldBlocks', () => {
  let now: number;
  let told: ToldBlocks;
  const isNews = (reason = 'no image', scheduler = 'arena') => told.isNews(scheduler, 'breaker', reason);

  beforeEach(() => {
    now = 0;
    told = new ToldBlocks(() => now);
  });

  it('a block is news when it begins, and again after minutes', () => {
    const news: number[] = [];
    for (now = 0; now <= 600_000; now += 4_000) if (isNews()) news.push(now);
    expect(news).toEqual([0, 300_000, 600_000]);
  });

  it('one with a new reason is news sooner, but not with each look', () => {
    const news: number[] = [];
    for (now = 0; now <= 120_000; now += 4_000) if (isNews(`pod ${now}`)) news.push(now);
    expect(news).toEqual([0, 60_000, 120_000]);
  });

  it('one that was over is news when it comes again, and it is said once that it is over', () => {
    expect(told.isOver('arena', 'breaker')).toBe(false);
    isNews();
    expect(told.isOver('arena', 'breaker')).toBe(true);
    expect(told.isOver('arena', 'breaker')).toBe(false);
    expect(isNews()).toBe(true);
  });

  it('schedulers and blocks are told apart, and a scheduler that is gone is forgotten', () => {
    expect([isNews(), isNews('no image', 'other'), told.isNews('arena', 'mass_silence')]).toEqual([true, true, true]);
    told.forget('arena');
    expect([isNews(), isNews('no image', 'other')]).toEqual([true, false]);
  });
});
