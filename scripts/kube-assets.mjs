/**
 * `npm run kube-assets`: a real kube-apiserver and etcd for the tests of the Kubernetes runtime; prints the folder that holds
 * them, to be used as KUBEBUILDER_ASSETS. Made once per machine, out of Debian's packages, because no registry of packages
 * ships an API server: etcd is there as a binary, the API server (1.20) as source, and the Go that it was written for in the
 * release before. Takes about 3 minutes on 2 cores. Nothing is installed; needs apt, dpkg, root, and Debian's mirror.
 */
import { execFileSync } from 'node:child_process';
import {
  accessSync,
  constants,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const version = '1.20.2';
const cacheHome = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
const assets = process.env.MAESTRO_KUBE_ASSETS || join(cacheHome, 'maestro', `kube-assets-${version}`);
const binaries = ['kube-apiserver', 'etcd'];

function isThere() {
  try {
    for (const binary of binaries) accessSync(join(assets, binary), constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const say = (text) => process.stderr.write(`${text}\n`);

function run(command, args, options = {}) {
  return execFileSync(command, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 << 20,
    ...options,
  }).toString();
}

/** The mirror that this machine uses, which may be the only one that it reaches. */
function mirror() {
  const sources = ['/etc/apt/sources.list', ...list('/etc/apt/sources.list.d')].flatMap(linesOf);
  const uris = sources.flatMap((line) => /^(?:URIs:|deb(?: \[[^\]]*\])?)\s+(\S+)/.exec(line)?.[1] ?? []);
  return uris.find((uri) => !uri.includes('security')) ?? 'http://deb.debian.org/debian';
}

function list(folder) {
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch {
    return [];
  }
}

function linesOf(file) {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}

/** apt with lists of its own: neither the machine's sources nor its installed packages are touched. */
function fetchPackages(work) {
  const folders = ['lists/partial', 'cache/archives/partial', 'packages'].map((folder) => join(work, folder));
  for (const folder of folders) mkdirSync(folder, { recursive: true });
  const entry = (kind, suite) =>
    `${kind} [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror()} ${suite} main\n`;
  writeFileSync(
    join(work, 'sources.list'),
    entry('deb', 'bullseye') + entry('deb', 'bookworm') + entry('deb-src', 'bookworm'),
  );
  const settings = {
    'Dir::Etc::SourceList': join(work, 'sources.list'),
    'Dir::Etc::SourceParts': '-',
    'Dir::State::Lists': join(work, 'lists'),
    'Dir::Cache': join(work, 'cache'),
    'APT::Sandbox::User': 'root',
    // The older release is no longer refreshed.
    'Acquire::Check-Valid-Until': 'false',
  };
  const flags = ['-q', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
  const apt = (...args) => run('apt-get', [...flags, ...args], { cwd: join(work, 'packages') });
  apt('update');
  apt('download', 'golang-1.15-go', 'golang-1.15-src', 'etcd-server');
  apt('source', '--download-only', 'kubernetes');
  return (start, end) => {
    const found = readdirSync(join(work, 'packages')).find((name) => name.startsWith(start) && name.endsWith(end));
    if (found === undefined) throw new Error(`apt brought no ${start}*${end}`);
    return join(work, 'packages', found);
  };
}

function buildApiServer(work, packageFile) {
  for (const name of ['golang-1.15-go', 'golang-1.15-src'])
    run('dpkg', ['-x', packageFile(name, '.deb'), join(work, 'go')]);
  // Debian splits Go's tree over two folders with links between them; Go wants one.
  const goRoot = join(work, 'goroot');
  cpSync(join(work, 'go/usr/lib/go-1.15'), goRoot, { recursive: true, dereference: true });
  const source = join(work, 'gopath/src/k8s.io/kubernetes');
  mkdirSync(source, { recursive: true });
  run('tar', ['-xf', packageFile('kubernetes_', '.orig.tar.gz'), '-C', source, '--strip-components=1']);
  const env = {
    PATH: `${join(goRoot, 'bin')}:${process.env.PATH}`,
    HOME: work,
    GOROOT: goRoot,
    GOPATH: join(work, 'gopath'),
    GOCACHE: join(work, 'gocache'),
    // Settings of a newer Go on this machine are not for this one.
    GOENV: 'off',
    GO111MODULE: 'off',
    GOPROXY: 'off',
  };
  const inSource = (command, args) => run(command, args, { cwd: source, env });
  say('generating the definitions that the source package leaves out');
  const generator = join(work, 'openapi-gen');
  inSource('go', ['build', '-o', generator, './vendor/k8s.io/kube-openapi/cmd/openapi-gen']);
  const marked = inSource('grep', ['-rl', '--include=*.go', '+k8s:openapi-gen=', 'staging/src', 'pkg'])
    .trim()
    .split('\n');
  const foreign = /code-generator|sample-apiserver|sample-controller|_test\.go$/;
  const packages = [...new Set(marked.filter((file) => !foreign.test(file)).map(dirname))]
    .sort()
    .map((folder) =>
      folder.startsWith('staging/src/k8s.io')
        ? folder.replace('staging/src/k8s.io', 'k8s.io/kubernetes/vendor/k8s.io')
        : `k8s.io/kubernetes/${folder}`,
    );
  inSource(generator, [
    '--logtostderr',
    ...['-i', packages.join(','), '-p', 'k8s.io/kubernetes/pkg/generated/openapi', '-O', 'zz_generated.openapi'],
    ...['-h', 'hack/boilerplate/boilerplate.generatego.txt', '-r', join(work, 'violations.txt')],
  ]);
  say('compiling kube-apiserver, which takes minutes');
  const [major, minor] = version.split('.');
  const stamps = ['component-base/version', 'client-go/pkg/version'].flatMap((target) =>
    Object.entries({ gitVersion: `v${version}`, gitMajor: major, gitMinor: minor }).map(
      ([name, value]) => `-X k8s.io/kubernetes/vendor/k8s.io/${target}.${name}=${value}`,
    ),
  );
  const binary = join(work, 'kube-apiserver');
  inSource('go', ['build', '-ldflags', `-s -w ${stamps.join(' ')}`, '-o', binary, './cmd/kube-apiserver']);
  return binary;
}

function make() {
  const work = mkdtempSync(join(process.env.TMPDIR || tmpdir(), 'maestro-kube-assets-'));
  try {
    say('fetching packages');
    const packageFile = fetchPackages(work);
    const apiServer = buildApiServer(work, packageFile);
    run('dpkg', ['-x', packageFile('etcd-server', '.deb'), join(work, 'etcd')]);
    // Whole or not at all: another run may look while this one writes.
    const staged = `${assets}.${process.pid}`;
    mkdirSync(staged, { recursive: true });
    cpSync(apiServer, join(staged, 'kube-apiserver'));
    cpSync(join(work, 'etcd/usr/bin/etcd'), join(staged, 'etcd'));
    rmSync(assets, { recursive: true, force: true });
    renameSync(staged, assets);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

if (!isThere()) make();
console.log(assets);
