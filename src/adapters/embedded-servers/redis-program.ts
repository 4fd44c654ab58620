import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../../domain/errors';
import { cached } from './cache-directory';

/** A real Redis (or Valkey) server that runs on this machine. */
export interface RedisProgram {
  readonly file: string;
  /** What it needs in its environment to find its libraries. */
  readonly env: Readonly<Record<string, string>>;
  /** As it names itself: "Redis 7.0.15". */
  readonly description: string;
}

/** A program, or the reason in one clause why there is none. */
export type RedisSearch = { readonly program: RedisProgram } | { readonly missing: string };

/** Where Homebrew installs, also when a terminal's PATH does not say so. */
const alsoSearched = ['/opt/homebrew/bin', '/usr/local/bin'];
/** The oldest version that BullMQ supports without warnings (its documentation, "Compatibility"). */
const oldest = [6, 2] as const;
/** For all of the download together; measured: 1 s with package lists, 3 s without. */
const downloadBoundMs = 30_000;
/** After a failed download a machine without network is not asked again at every start. */
const retryAfterMs = 15 * 60_000;

/** Looks for `redis-server`, then `valkey-server`, on the search path (as in PATH). */
export async function findRedisOnPath(searchPath: string): Promise<RedisSearch> {
  // A relative entry would mean another place for the server, which runs in another directory.
  const directories = [...searchPath.split(delimiter), ...alsoSearched].filter((directory) => isAbsolute(directory));
  let missing = 'no redis-server or valkey-server on PATH';
  for (const name of ['redis-server', 'valkey-server']) {
    for (const directory of new Set(directories)) {
      const file = join(directory, name);
      if (!existsSync(file)) continue;
      const search = await tryProgram(file, {});
      if ('program' in search) return search;
      missing = search.missing;
    }
  }
  return { missing };
}

/**
 * The Redis of this Debian or Ubuntu, fetched by apt without installing it: downloaded and unpacked into the cache once.
 * Needs no root, changes nothing on the system and starts no service. Its own package lists are used if it has any, else
 * (or if they are too old) private ones. `insist` asks again also shortly after a failure.
 */
export async function findRedisPackage(cacheDirectory: string, insist: boolean): Promise<RedisSearch> {
  if (!existsSync('/usr/bin/apt-get') || !existsSync('/usr/bin/dpkg'))
    return { missing: 'this is no Debian or Ubuntu' };
  const name = `redis-${distribution(readFileSync('/etc/os-release', 'utf8'))}-${process.arch}`;
  const failure = join(cacheDirectory, `${name}.failed`);
  const failedAt = statSync(failure, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (!insist && !existsSync(join(cacheDirectory, name)) && Date.now() - failedAt < retryAfterMs) {
    return { missing: `its package could not be fetched lately (${failure} says why)` };
  }
  let missing = '';
  // A kept one that no longer runs (its libraries were replaced by an upgrade) is fetched anew, once.
  for (let attempt = 1; attempt <= 2; attempt += 1) {
    try {
      const entry = await cached(cacheDirectory, name, (scratch) => fetchPackage(scratch));
      const search = await tryProgram(join(entry, 'redis-server'), { LD_LIBRARY_PATH: libraryPath(entry) });
      if ('program' in search) {
        rmSync(failure, { force: true });
        return search;
      }
      missing = search.missing;
      rmSync(entry, { recursive: true, force: true });
    } catch (error) {
      missing = `its package could not be fetched: ${messageOf(error).split('\n').slice(0, 2).join(' ')}`;
      break;
    }
  }
  mkdirSync(cacheDirectory, { recursive: true });
  writeFileSync(failure, `${missing}\n`);
  return { missing };
}

/** "debian-12" from the text of /etc/os-release (os-release(5)). */
export function distribution(osRelease: string): string {
  const read = (key: string) => new RegExp(`^${key}="?([\\w.-]+)"?$`, 'm').exec(osRelease)?.[1];
  return [read('ID') ?? 'unknown', read('VERSION_ID') ?? read('VERSION_CODENAME') ?? 'rolling'].join('-');
}

/** Name and version from `--version`: "Redis server v=7.0.15 sha=…", "Valkey server v=8.0.1 …". */
export function parseRedisVersion(output: string): { description: string; isRecentEnough: boolean } | undefined {
  const [, product, version] = /^(\w+) server v=(\S+)/m.exec(output) ?? [];
  if (product === undefined || version === undefined) return undefined;
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const isRecentEnough = major > oldest[0] || (major === oldest[0] && minor >= oldest[1]);
  return { description: `${product} ${version}`, isRecentEnough };
}

/**
 * The packages to unpack beside the server: the libraries in the closure of its dependencies (`apt-cache depends
 * --recurse`: a package's name at the start of a line) that are not installed (`dpkg-query`, names with or without
 * ":arch").
 */
export function missingLibraries(closure: string, installed: string): string[] {
  const have = new Set(installed.split('\n').map((name) => name.replace(/:.*$/, '')));
  const names = closure.split('\n').filter((line) => /^lib[a-z0-9]/.test(line));
  return names.filter((name) => !have.has(name.replace(/:.*$/, '')));
}

async function tryProgram(file: string, env: Record<string, string>): Promise<RedisSearch> {
  try {
    const { stdout } = await promisify(execFile)(file, ['--version'], { env, timeout: 5_000 });
    const version = parseRedisVersion(stdout);
    if (version === undefined) return { missing: `${file} does not say its version` };
    if (!version.isRecentEnough)
      return { missing: `${file} is ${version.description}, older than ${oldest.join('.')}` };
    return { program: { file, env, description: version.description } };
  } catch (error) {
    return { missing: `${file} does not run: ${messageOf(error).split('\n').slice(0, 2).join(' ')}` };
  }
}

async function fetchPackage(scratch: string): Promise<void> {
  const work = join(scratch, '.work');
  const lists = join(work, 'state', 'lists', 'partial');
  for (const directory of [lists, join(work, 'cache', 'archives', 'partial'), join(work, 'packages')]) {
    mkdirSync(directory, { recursive: true });
  }
  const deadline = performance.now() + downloadBoundMs;
  const run = async (file: string, args: string[]) => {
    const timeout = Math.max(1, Math.ceil(deadline - performance.now()));
    const { stdout } = await promisify(execFile)(file, args, { cwd: join(work, 'packages'), timeout });
    return stdout;
  };
  // As root apt would fetch as its own user `_apt`, who cannot write here, and warn; what it fetches is signed.
  const common = ['-q', '-o', 'APT::Sandbox::User=', '-o', 'Debug::NoLocking=1'];
  // Images for containers switch apt's own caches off; with these the second call takes 0.3 s instead of 0.9 s.
  common.push('-o', `Dir::Cache=${join(work, 'cache')}`);
  common.push('-o', 'Dir::Cache::pkgcache=pkgcache.bin', '-o', 'Dir::Cache::srcpkgcache=srcpkgcache.bin');
  const privateLists = ['-o', `Dir::State=${join(work, 'state')}`, '-o', 'Dir::State::status=/var/lib/dpkg/status'];

  try {
    await download(run, common);
  } catch {
    await run('apt-get', [...common, ...privateLists, 'update']);
    await download(run, [...common, ...privateLists]);
  }
  for (const name of readdirSync(join(work, 'packages'))) {
    await run('dpkg', ['-x', join(work, 'packages', name), scratch]);
  }
  rmSync(work, { recursive: true });
  // The server is in the tools: one program, which acts by the name that it is called by.
  const server = ['redis-check-rdb', 'valkey-check-rdb'].find((name) => existsSync(join(scratch, 'usr', 'bin', name)));
  if (server === undefined) throw new Error('the package holds no server');
  symlinkSync(join('usr', 'bin', server), join(scratch, 'redis-server'));
}

async function download(run: (file: string, args: string[]) => Promise<string>, options: string[]): Promise<void> {
  const kinds = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'];
  const closureOf = (name: string) =>
    run('apt-cache', [...options, 'depends', '--recurse', ...kinds.map((kind) => `--no-${kind}`), name]);
  // Newer releases may have Valkey alone.
  const [tools, closure] = await closureOf('redis-tools').then(
    (text) => ['redis-tools', text] as const,
    async () => ['valkey-tools', await closureOf('valkey-tools')] as const,
  );
  const installed = await run('dpkg-query', ['-W', '-f', '${binary:Package}\n']);
  await run('apt-get', [...options, 'download', tools, ...missingLibraries(closure, installed)]);
}

/** Every directory below usr/lib and lib that holds a shared library. */
function libraryPath(entry: string): string {
  const found = new Set<string>();
  for (const top of [join('usr', 'lib'), 'lib']) {
    const root = join(entry, top);
    if (!existsSync(root)) continue;
    for (const file of readdirSync(root, { recursive: true, withFileTypes: true })) {
      if (/\.so(\.|$)/.test(file.name)) found.add(file.parentPath);
    }
  }
  return [...found].join(':');
}
