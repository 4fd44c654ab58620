import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cached, sharedDirectory } from './cache-directory';

let root: string;
beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'maestro-cache-'))));
afterEach(() => rmSync(root, { recursive: true, force: true }));

describe('cached', () => {
  const fill = jest.fn(async (scratch: string) => writeFileSync(join(scratch, 'program'), 'whole'));
  beforeEach(() => fill.mockClear());

  it('makes an entry once', async () => {
    const entry = await cached(root, 'entry', fill);
    expect(await cached(root, 'entry', fill)).toBe(entry);
    expect(fill).toHaveBeenCalledTimes(1);
    expect(readFileSync(join(entry, 'program'), 'utf8')).toBe('whole');
  });

  it('leaves nothing of an entry that failed halfway', async () => {
    const fail = async (scratch: string) => {
      await fill(scratch);
      throw new Error('no space');
    };
    await expect(cached(root, 'entry', fail)).rejects.toThrow('no space');
    expect(readdirSync(root)).toEqual([]);
  });

  it('gives all who make it at once the same whole entry', async () => {
    const entries = await Promise.all([1, 2, 3].map(() => cached(root, 'entry', fill)));
    expect(new Set(entries).size).toBe(1);
    expect(readdirSync(root)).toEqual(['entry']);
  });

  it('clears what a dead process left half made', async () => {
    mkdirSync(join(root, `.scratch-${2 ** 22 + 1}-0123`));
    await cached(root, 'entry', fill);
    expect(readdirSync(root)).toEqual(['entry']);
  });
});

describe('sharedDirectory', () => {
  it('passes over a directory that others can write to', () => {
    const open = join(root, 'open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    expect(sharedDirectory([open, join(root, 'mine')])).toBe(join(root, 'mine'));
  });

  it('says where it looked when there is none', () => {
    expect(() => sharedDirectory([])).toThrow(expect.objectContaining({ code: 'embedded_servers.no_directory' }));
  });
});
