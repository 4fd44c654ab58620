import { RunsByKey } from './runs-by-key';

describe('runs by key', () => {
  let begun: string[];
  let endRun: Map<string, () => void>;
  let runs: RunsByKey;

  beforeEach(() => {
    [begun, endRun] = [[], new Map()];
    runs = new RunsByKey((key) => {
      begun.push(key);
      return new Promise((resolve) => endRun.set(key, resolve));
    });
  });

  async function end(key: string): Promise<void> {
    endRun.get(key)!();
    await new Promise(setImmediate);
  }

  it('run once more for all who ask during a run, and not again', async () => {
    for (let time = 0; time < 100; time++) runs.ask('arena');
    expect(begun).toEqual(['arena']);
    await end('arena');
    expect(begun).toEqual(['arena', 'arena']);
    await end('arena');
    expect(begun).toEqual(['arena', 'arena']);
  });

  it('run at once for who asks when nothing runs', async () => {
    for (let time = 0; time < 3; time++) {
      runs.ask('arena');
      await end('arena');
    }
    expect(begun).toEqual(['arena', 'arena', 'arena']);
  });

  it('run side by side for different keys', async () => {
    runs.ask('arena');
    runs.ask('other');
    runs.ask('other');
    expect(begun).toEqual(['arena', 'other']);
    await end('other');
    expect(begun).toEqual(['arena', 'other', 'other']);
  });
});
