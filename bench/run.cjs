/** `npm run bench -- NAME`: runs `bench/NAME.bench.ts` and prints its report. Without a name: which ones there are. */
require('../test/support/swc-register.cjs');
require('reflect-metadata');
const { readdirSync } = require('node:fs');
const { join } = require('node:path');
const { printReport } = require('./support/report.ts');

const suffix = '.bench.ts';
const names = readdirSync(__dirname)
  .filter((file) => file.endsWith(suffix))
  .map((file) => file.slice(0, -suffix.length));

async function main([name]) {
  if (!names.includes(name)) {
    console.log(`npm run bench -- NAME, where NAME is one of: ${names.join(', ')}`);
    if (name !== undefined) process.exitCode = 1;
    return;
  }
  const report = await require(join(__dirname, `${name}${suffix}`)).run();
  if (!printReport(name, report)) process.exitCode = 1;
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
