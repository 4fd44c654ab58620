import { startTestPostgres } from '../support/embedded-servers';
import { MaestroProcess, freePorts } from '../support/maestro-process';
import { openV10Database, type V10UnderTest } from '../support/v10-database';

let postgres: Awaited<ReturnType<typeof startTestPostgres>>;
let v10: V10UnderTest;

beforeAll(async () => {
  postgres = await startTestPostgres();
  v10 = await openV10Database(postgres.url);
}, 60_000);
afterAll(async () => {
  await v10.close();
  await postgres.stop();
});

async function maestro(...arguments_: string[]): Promise<{ code: number | null; lines: string[] }> {
  const started = new MaestroProcess(arguments_, await freePorts(), { MAESTRO_POSTGRES_URL: postgres.url });
  const { code } = await started.exited();
  return { code, lines: started.output.trim().split('\n') };
}

describe('someone who comes from Maestro v10', () => {
  it('looks, imports one scheduler and then all, and sees by the exit code that some are left', async () => {
    expect((await maestro('migrate')).code).toBe(0);
    const dry = await maestro(
      'import',
      '--from',
      v10.url,
      '--dry-run',
      '--scheduler',
      'simple',
      '--scheduler',
      'buffered',
    );
    expect(dry.code).toBe(0);
    expect(dry.lines.at(-1)).toBe(
      '2 imported, 0 updated, 0 unchanged, 0 conflict, 0 skipped (dry run: nothing was written)',
    );
    const one = await maestro('import', '--from', v10.url, '--scheduler', 'simple');
    expect([one.code, one.lines.at(-1)]).toEqual([0, '1 imported, 0 updated, 0 unchanged, 0 conflict, 0 skipped']);
    const all = await maestro('import', '--from', v10.url);
    expect([all.code, all.lines.at(-1)]).toEqual([1, '6 imported, 0 updated, 1 unchanged, 0 conflict, 3 skipped']);
    expect(all.lines.join('\n')).not.toContain(new URL(v10.url).password);
  }, 60_000);

  it.each([
    ['no address', [], /required option '--from <url>'/],
    ['nobody there', ['--from', 'postgres://u:s3cret@127.0.0.1:1/x'], /^maestro: cannot connect to Maestro v10's/],
  ])(
    'is told in one line of %s',
    async (_, arguments_, message) => {
      const { code, lines } = await maestro('import', ...arguments_);
      expect(code).toBe(1);
      expect(lines[0]).toMatch(message);
      expect(lines.join('\n')).not.toMatch(/s3cret|^\s+at /m);
    },
    30_000,
  );
});
