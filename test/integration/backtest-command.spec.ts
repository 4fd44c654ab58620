import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/load-config';
import { runBacktest, type BacktestCommandOptions } from '../../src/roles/backtest';

describe('maestro backtest', () => {
  const directory = mkdtempSync(join(tmpdir(), 'maestro-backtest-'));
  const { config } = loadConfig({ environment: {} });
  const file = (name: string, text: string): string => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  const load = file('load.csv', 'time,matches\n0,5\n3600,9\n');
  const three = file('three.json', '{"roomsReplicas": 3}');
  const twelve = file('twelve.json', '{"roomsReplicas": 12}');
  let printed: string;

  const run = (changes: Partial<BacktestCommandOptions> = {}): Promise<void> =>
    runBacktest(
      {
        policy: [three, twelve],
        load,
        startDelay: '60s',
        matchLength: '10m',
        cycleInterval: '30s',
        seed: '1',
        ...changes,
      },
      config,
    );

  beforeEach(() => {
    printed = '';
    jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
      printed += String(text);
      return true;
    });
  });
  afterEach(() => jest.restoreAllMocks());
  afterAll(() => rmSync(directory, { recursive: true }));

  test('prints a line for each policy, and writes the plot', async () => {
    const plot = join(directory, 'plot.svg');
    await run({ plot });
    expect(printed).toMatch(/^policy .*\nthree .* 3\ntwelve .* 12\n\nthe plot is in .*plot\.svg\n$/);
    expect(readFileSync(plot, 'utf8')).toMatch(/^<svg [\s\S]*three[\s\S]*twelve[\s\S]*<\/svg>\n$/);
  });

  test('prints JSON, and names files of the same name by their paths', async () => {
    await run({ policy: [three, three], json: true });
    const outcomes = JSON.parse(printed) as { name: string; peakRooms: number; timeline: unknown[] }[];
    expect(outcomes).toMatchObject([{ name: three, peakRooms: 3 }, { name: three }]);
    expect(outcomes[0]!.timeline.length).toBeGreaterThan(100);
  });

  test.each<[string, () => Partial<BacktestCommandOptions>, RegExp]>([
    ['a load file with a wrong line', () => ({ load: file('bad.csv', '0,1\n60,x') }), /bad\.csv: line 2, matches: "x"/],
    ['a load file that is not there', () => ({ load: join(directory, 'none.csv') }), /none\.csv: ENOENT/],
    ['a policy that is no JSON', () => ({ policy: [file('bad.json', '{')] }), /bad\.json: it is no JSON: /],
    [
      'a policy that no scheduler may have',
      () => ({ policy: [file('no.json', '{"roomsReplicas": -1}')] }),
      /no\.json: /,
    ],
    ['a duration that is none', () => ({ matchLength: 'long' }), /--match-length: "long" is no duration/],
    ['a seed that is no number', () => ({ seed: 'x' }), /--seed: "x" is no whole number/],
  ])('refuses %s', async (_, changes, message) => {
    await expect(run(changes())).rejects.toThrow(message);
    expect(printed).toBe('');
  });
});
