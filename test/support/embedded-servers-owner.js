'use strict';
/*
 * A process that owns a state directory and its embedded servers, for tests that kill it:
 * `node embedded-servers-owner.js STATE_DIRECTORY postgres|- REDIS_KIND|-`. Prints one line of JSON when the servers are ready, one line
 * for each SIGINT (which it survives, so that a test sees what Ctrl-C does to the servers), and stays until it is killed.
 */
const { transformFileSync } = require('@swc/core');

// Node runs no TypeScript by itself in the versions that we support.
require.extensions['.ts'] = (module, file) => module._compile(transformFileSync(file).code, file);

const { acquireStateDirectory } = require('../../src/adapters/embedded-servers/state-directory');
const { startEmbeddedServers } = require('../../src/adapters/embedded-servers/embedded-servers');

async function main([stateDirectory, postgres, redis]) {
  process.on('SIGINT', () => console.log(JSON.stringify({ event: 'interrupted' })));
  const ignore = () => {};
  const logger = { error: ignore, warn: ignore, info: ignore, debug: ignore };
  const owned = await acquireStateDirectory(stateDirectory);
  const servers = await startEmbeddedServers({
    stateDirectory: owned.path,
    postgres: postgres === 'postgres',
    redis: redis === '-' ? false : redis,
    searchPath: process.env.PATH,
    postgresPort: 0,
    redisPort: 0,
    logger,
  });
  setInterval(ignore, 60_000);
  console.log(JSON.stringify({ event: 'ready', ...servers }));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
