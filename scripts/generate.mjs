/** `npm run generate`: everything in the repository that is made from something else in it. */
import { execSync } from 'node:child_process';

const run = (command) =>
  execSync(command, { stdio: 'inherit', env: { ...process.env, PATH: `node_modules/.bin:${process.env.PATH}` } });

run('buf generate');
run('prettier --log-level warn --write src/proto');
run(
  `node -r ./test/support/swc-register.cjs -e "require('node:fs').writeFileSync('docs/settings.md', require('./src/config/settings-document.ts').settingsDocument())"`,
);
run(
  `node -r ./test/support/swc-register.cjs -e "require('node:fs').writeFileSync('docs/conformance.md', require('./test/conformance/conformance-document.ts').conformanceDocument())"`,
);
run(
  `node -r ./test/support/swc-register.cjs -e "require('node:fs').writeFileSync('examples/backtest/sample-week.csv', require('./src/domain/simulation/parse-load-curve.ts').printLoadCurve(require('./src/domain/simulation/sample-week.ts').sampleWeek()))"`,
);
run('node -r ./test/support/swc-register.cjs scripts/write-open-api.cjs docs/openapi');
run(
  'openapi-typescript docs/openapi/management.json --default-non-nullable=false --output test/support/openapi-client/management-api.ts',
);
run('prettier --log-level warn --write docs/conformance.md docs/openapi test/support/openapi-client/management-api.ts');
