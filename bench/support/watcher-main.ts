import { loadConfig } from '../../src/config/load-config';
import { bootRoles } from '../../src/roles/boot-roles';
import { openResources } from '../../src/roles/process-resources';
import { QuietLogger } from '../../test/support/embedded-servers';
import { freePorts, temporaryStateDirectory } from '../../test/support/maestro-process';
import type { WatcherMemory, WatcherOrder } from './watcher-process';

/** Answers with its memory when it is up, and whenever it is asked. Ends on SIGTERM. */
async function main({ postgresUrl, redisUrl, apiServerUrl }: WatcherOrder): Promise<void> {
  const state = temporaryStateDirectory();
  const { config } = loadConfig({
    environment: {
      MAESTRO_RUNTIME: 'kubernetes',
      MAESTRO_ADAPTERS_RUNTIME_KUBERNETES_MASTERURL: apiServerUrl,
      MAESTRO_STATE_DIRECTORY: state.path,
      MAESTRO_INTERNALAPI_PORT: String((await freePorts()).internal),
    },
  });
  const resources = await openResources(config, new QuietLogger(), {
    postgresUrl,
    redisUrl,
    processName: 'maestro-bench-watcher',
    environment: {},
  });
  const running = await bootRoles(['runtime-watcher'], resources);
  process.on('message', () => process.send!(memory()));
  process.once('SIGTERM', () => {
    void running
      .stopAll()
      .then(() => resources.close())
      .then(() => state.remove())
      .then(() => process.exit(0));
  });
  // A benchmark that fails leaves nothing behind.
  process.once('disconnect', () => process.exit(1));
  process.send!(memory());
}

/** What is held, not what waits to be collected. */
function memory(): WatcherMemory {
  for (let turn = 0; turn < 3; turn++) globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heldBytes: heapUsed + external, residentBytes: rss };
}

void main(JSON.parse(process.argv[2]!) as WatcherOrder);
