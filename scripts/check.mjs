/**
 * `npm run check`: everything that must hold at every commit and needs no services. Runs what can run side by side, prints
 * the output of what failed only, and ends with a line per check.
 */
import { spawn } from 'node:child_process';

const steps = [
  ['format', 'prettier --check --log-level warn .'],
  [
    'lint',
    'eslint --max-warnings 0 --cache --cache-location node_modules/.cache/maestro/eslint src test migrations bench',
  ],
  ['types', 'tsc --noEmit'],
  ['dependency rules', 'depcruise src'],
  ['small tests', 'jest --selectProjects small --silent'],
  ['wire definitions', 'buf lint'],
  ['generated files', 'node scripts/generated-files-unchanged.mjs'],
];

function run([name, command]) {
  return new Promise((resolve) => {
    const started = performance.now();
    const child = spawn(command, {
      shell: true,
      env: { ...process.env, PATH: `node_modules/.bin:${process.env.PATH}` },
    });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('close', (code) => {
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      if (code !== 0) console.log(output);
      console.log(`${code === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
      resolve(code === 0);
    });
  });
}

/** Two at a time: the machines that run this have two cores. */
async function runAll() {
  const queue = [...steps];
  const results = [];
  const lane = async () => {
    for (let step = queue.shift(); step !== undefined; step = queue.shift()) results.push(await run(step));
  };
  await Promise.all([lane(), lane()]);
  return results.every(Boolean);
}

process.exit((await runAll()) ? 0 : 1);
