/** Generates anew and fails if that changed anything: what is committed is what its source says. */
import { execSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const generated = [
  'src/proto',
  'docs/settings.md',
  'docs/conformance.md',
  'docs/openapi',
  'examples/backtest/sample-week.csv',
  'test/support/openapi-client/management-api.ts',
];

function filesBelow(path) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).flatMap((name) => filesBelow(join(path, name)));
}

function fingerprints() {
  return new Map(
    generated.flatMap(filesBelow).map((path) => [path, createHash('sha256').update(readFileSync(path)).digest('hex')]),
  );
}

const before = fingerprints();
execSync('node scripts/generate.mjs', { stdio: 'pipe' });
const after = fingerprints();
const changed = [...new Set([...before.keys(), ...after.keys()])].filter(
  (path) => before.get(path) !== after.get(path),
);
if (changed.length > 0) {
  console.error(
    `not what "npm run generate" makes (it has been run now; commit the result):\n  ${changed.join('\n  ')}`,
  );
  process.exit(1);
}
