/**
 * `npm run fuzz [-- OPTIONS OF SCHEMATHESIS]`: the management API under schemathesis (https://schemathesis.readthedocs.io), an
 * independent fuzzer that makes requests from the OpenAPI document and chains them. For now and then: the tests have a fuzzer
 * of their own that needs nothing but Node (`npx jest fuzz --selectProjects integration`).
 *
 * Databases and API are started for it and ended with it; no worker runs, so that no room is ever started.
 */
require('reflect-metadata');
const { execFileSync, spawn, spawnSync } = require('node:child_process');
const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { startMaestroInProcess } = require('../test/support/maestro-in-process.ts');

const version = '4.32.5';
const place = join(__dirname, `../node_modules/.cache/maestro/schemathesis-${version}`);
const program = join(place, 'bin/schemathesis');

const settings = join(__dirname, 'schemathesis.toml');

function install() {
  if (existsSync(program)) return;
  const python = spawnSync('python3', ['-c', 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))']);
  if (python.status !== 0) {
    console.error(
      'schemathesis needs Python 3.10 or later with venv (python3), and there is none here.\n' +
        'The fuzzer of the tests needs only Node: npx jest fuzz --selectProjects integration',
    );
    process.exit(1);
  }
  console.log(`installing schemathesis ${version} into ${place}`);
  execFileSync('python3', ['-m', 'venv', place], { stdio: 'inherit' });
  execFileSync(join(place, 'bin/pip'), ['install', '--quiet', `schemathesis==${version}`], { stdio: 'inherit' });
}

function run(url, options) {
  return new Promise((resolve) => {
    const child = spawn(program, ['--config-file', settings, 'run', `${url}/docs-json`, '--url', url, ...options], {
      stdio: 'inherit',
      // Where it leaves its notes.
      cwd: place,
    });
    child.on('close', (code) => resolve(code ?? 1));
  });
}

/** The scheduler that the document's examples name is there, and free for the next change: else all were refused after one. */
async function keepExample(url, maestro) {
  const example = {
    name: 'arena-eu',
    game: 'arena',
    maxSurge: '25%',
    portRange: { start: 40_000, end: 41_000 },
    spec: {
      terminationGracePeriod: '60s',
      containers: [
        {
          name: 'room',
          image: 'room:1',
          imagePullPolicy: 'Always',
          requests: { memory: '20Mi', cpu: '10m' },
          limits: { memory: '20Mi', cpu: '10m' },
          ports: [{ name: 'game', protocol: 'udp', port: 7777 }],
        },
      ],
    },
  };
  await fetch(`${url}/schedulers`, { method: 'POST', body: JSON.stringify(example) });
  const timer = setInterval(() => {
    const ended = `UPDATE maestro.operations SET status = 'finished', finished_at = now() WHERE finished_at IS NULL`;
    const idle = `UPDATE maestro.schedulers SET state = 'in-sync' WHERE state <> 'in-sync'`;
    void maestro.sql(ended).then(() => maestro.sql(idle));
  }, 250);
  return () => clearInterval(timer);
}

async function main() {
  install();
  const maestro = await startMaestroInProcess(['management-api']);
  const url = `http://127.0.0.1:${maestro.ports.management}`;
  const letGo = await keepExample(url, maestro);
  try {
    process.exitCode = await run(url, process.argv.slice(2));
    const complaints = maestro.log.lines.filter(({ level }) => level === 'error');
    for (const { message, fields } of complaints) console.error('logged as an error:', message, fields);
    if (complaints.length > 0) process.exitCode = 1;
  } finally {
    letGo();
    await maestro.close();
  }
}

void main();
