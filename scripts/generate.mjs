/** `npm run generate`: everything in the repository that is made from something else in it. */
import { execSync } from 'node:child_process';

const run = (command) =>
  execSync(command, { stdio: 'inherit', env: { ...process.env, PATH: `node_modules/.bin:${process.env.PATH}` } });

run('buf generate');
run('prettier --log-level warn --write src/proto');
run(
  `node -r ./test/support/swc-register.cjs -e "require('node:fs').writeFileSync('docs/settings.md', require('./src/config/settings-document.ts').settingsDocument())"`,
);
