import { distribution, findRedisOnPath, missingLibraries, parseRedisVersion } from './redis-program';

describe('parseRedisVersion', () => {
  it.each([
    ['Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0', 'Redis 7.0.15', true],
    ['Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc', 'Valkey 8.0.1', true],
    ['Redis server v=6.2.0 sha=0', 'Redis 6.2.0', true],
    ['Redis server v=6.0.16 sha=0', 'Redis 6.0.16', false],
    ['Redis server v=5.0.7 sha=0', 'Redis 5.0.7', false],
  ])('reads "%s"', (output, description, isRecentEnough) => {
    expect(parseRedisVersion(output)).toEqual({ description, isRecentEnough });
  });

  it('knows nothing about another program', () => {
    expect(parseRedisVersion('GNU bash, version 5.2')).toBeUndefined();
  });
});

describe('distribution', () => {
  it.each([
    ['names a release', 'PRETTY_NAME="Debian GNU/Linux 12"\nVERSION_ID="12"\nID=debian\n', 'debian-12'],
    ['names one without a number by its code name', 'VERSION_CODENAME=forky\nID=debian\n', 'debian-forky'],
    ['does not take ID_LIKE for ID', 'ID_LIKE=debian\nID=ubuntu\nVERSION_ID="24.04"\n', 'ubuntu-24.04'],
  ])('%s', (_name, osRelease, expected) => {
    expect(distribution(osRelease)).toBe(expected);
  });
});

describe('missingLibraries', () => {
  it('lists the libraries that are not installed, and neither programs nor virtual packages', () => {
    const closure = 'redis-tools\n  Depends: adduser\n  Depends: liblzf1\nadduser\nlibc6\nliblzf1\n<libfoo>\n';
    expect(missingLibraries(closure, 'adduser\nlibc6:amd64\n')).toEqual(['liblzf1']);
  });
});

describe('findRedisOnPath', () => {
  it('says so when there is none', async () => {
    const search = await findRedisOnPath('/nowhere');
    if ('missing' in search) expect(search.missing).toContain('redis-server');
    else expect(search.program.description).toMatch(/\d/); // This machine has one where Homebrew puts it.
  });
});
