import { Slots } from './slots';

describe('Slots', () => {
  it('runs no more at a time than there are, in order, and goes on after a failure', async () => {
    const slots = new Slots(2);
    const begun: number[] = [];
    const ends: (() => void)[] = [];
    const work = (index: number) =>
      slots.run(async () => {
        begun.push(index);
        await new Promise<void>((resolve) => ends.push(resolve));
        if (index === 0) throw new Error('failed');
      });
    const all = [0, 1, 2, 3].map(work);
    await Promise.resolve();
    expect(begun).toEqual([0, 1]);
    ends[0]!();
    await expect(all[0]).rejects.toThrow('failed');
    await Promise.resolve();
    expect(begun).toEqual([0, 1, 2]);
    ends[1]!();
    await all[1];
    ends[2]!();
    await all[2];
    ends[3]!();
    await all[3];
    expect(begun).toEqual([0, 1, 2, 3]);
  });
});
