import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { adoptStateDirectory, checkStateDirectory, markerName } from './state-marker';

const password = '0123456789abcdef'.repeat(3);

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'maestro-state-'))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Writes files, given by their paths in the directory; a path with a slash at its end is a directory. */
function write(files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    const path = join(directory, name);
    mkdirSync(name.endsWith('/') ? path : dirname(path), { recursive: true });
    if (!name.endsWith('/')) writeFileSync(path, text);
  }
}

describe('checkStateDirectory', () => {
  it('sees a missing directory, and does not make it', () => {
    const missing = join(directory, 'missing');
    expect([checkStateDirectory(missing), existsSync(missing)]).toEqual(['missing', false]);
  });

  it.each<[string, Record<string, string>, string]>([
    ['an empty one is unused', {}, 'unused'],
    ['secrets that await the first start are no use yet', { 'secrets/arena/key': 'x' }, 'unused'],
    ['the root of a mounted volume is unused', { 'lost+found/': '' }, 'unused'],
    ['a marked one is ours, whatever a user added', { [markerName]: '', 'notes.txt': 'x' }, 'ours'],
    [
      'one of a version that wrote no marker is ours',
      {
        'owner-42-987.lock': '',
        'postgres/password': `${password}\n`,
        'postgres/data/PG_VERSION': '18',
        'redis/redis.conf': `bind 127.0.0.1\nrequirepass ${password}\n`,
        'redis/appendonlydir/': '',
        'logs/postgres.log': '',
        'logs/redis.log.1': '',
        'run/': '',
        'runtime/rooms/arena/x.json': '{}',
        'runtime/supervisor.1.lock': '{}',
        'sample-created': '',
        'secrets/arena/key': 'x',
      },
      'ours',
    ],
    ['one with JavaScript’s Redis of such a version is ours', { 'redis/password': password }, 'ours'],
  ])('%s', (_case, files, use) => {
    write(files);
    expect(checkStateDirectory(directory)).toBe(use);
  });

  it.each([
    [
      'documents',
      { 'a.txt': '', 'b.txt': '', 'c.txt': '', 'd.txt': '', 'e.txt': '' },
      'a.txt, b.txt, c.txt and 2 more',
    ],
    ['a project', { '.git/HEAD': '', 'package.json': '{}' }, '.git, package.json'],
    ['another program’s databases', { 'postgres/PG_VERSION': '18', 'redis/dump.rdb': 'x' }, 'postgres, redis'],
    ['another Redis’ configuration', { 'redis/redis.conf': 'requirepass hunter2' }, 'redis'],
    ['another program’s logs', { 'logs/postgres.log': '', 'logs/app.log': '' }, 'logs'],
    ['another program’s runtime', { 'runtime/bin/node': '' }, 'runtime'],
    ['a file beside what an earlier version left', { 'sample-created': '', 'a.txt': '' }, 'a.txt'],
    ['a property that every object has', { constructor: '' }, 'constructor'],
  ])('refuses %s', (_case, files, named) => {
    write(files);
    expect(() => checkStateDirectory(directory)).toThrow(
      expect.objectContaining({
        code: 'state_directory.foreign',
        message: expect.stringContaining(`it holds ${named} and no ${markerName}`),
      }),
    );
  });
});

describe('adoptStateDirectory', () => {
  it('makes and marks a missing one, and may be repeated', () => {
    const missing = join(directory, 'deep', 'state');
    adoptStateDirectory(missing);
    adoptStateDirectory(missing);
    expect(readdirSync(missing)).toEqual([markerName]);
  });

  it.each([
    ['is a file', 'file', 'it is a file'],
    ['lies under a file', 'file/state', '(EEXIST|ENOTDIR)'],
  ])('answers in one line when it %s', (_case, name, reason) => {
    write({ file: '' });
    expect(() => adoptStateDirectory(join(directory, name))).toThrow(unusable(reason));
  });

  (process.getuid === undefined ? it.skip : it)('answers in one line when it cannot be written', () => {
    chmodSync(directory, 0o555);
    asOrdinaryUser(() => {
      expect(() => adoptStateDirectory(directory)).toThrow(unusable('EACCES: permission denied'));
      expect(() => adoptStateDirectory(join(directory, 'state'))).toThrow(unusable('EACCES: permission denied'));
    });
  });
});

function unusable(reason: string): Error {
  return expect.objectContaining({
    code: 'state_directory.unusable',
    message: expect.stringMatching(new RegExp(`^The state directory \\S+ cannot be used: ${reason}.*\\.$`)),
  }) as Error;
}

/** Root may write anywhere, so it steps down for as long as `act` takes. */
function asOrdinaryUser(act: () => void): void {
  const isRoot = process.getuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    act();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}
