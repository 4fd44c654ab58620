import { loadConfig } from '../../src/config/load-config';
import { bootRoles } from '../../src/roles/boot-roles';
import { openResources } from '../../src/roles/process-resources';
import { QuietLogger } from '../../test/support/embedded-servers';
import { freePorts, temporaryStateDirectory } from '../../test/support/maestro-process';
import type { RoomsApiAddress, RoomsApiOrder } from './rooms-api-process';

/** Answers with its ports when it is up. Ends on SIGTERM. */
async function main({ postgresUrl, redisUrl }: RoomsApiOrder): Promise<void> {
  const state = temporaryStateDirectory();
  const ports = await freePorts();
  const { config } = loadConfig({
    environment: {
      MAESTRO_STATE_DIRECTORY: state.path,
      MAESTRO_INTERNALAPI_PORT: String(ports.internal),
      MAESTRO_ROOMSAPI_PORT: String(ports.rooms),
      MAESTRO_ROOMSAPI_GRPCPORT: String(ports.roomsGrpc),
    },
  });
  const resources = await openResources(config, new QuietLogger(), {
    postgresUrl,
    redisUrl,
    processName: 'maestro-bench-rooms-api',
    environment: {},
  });
  const running = await bootRoles(['rooms-api'], resources);
  process.once('SIGTERM', () => {
    void running
      .stopAll()
      .then(() => resources.close())
      .then(() => state.remove())
      .then(() => process.exit(0));
  });
  // A benchmark that fails leaves nothing behind.
  process.once('disconnect', () => process.exit(1));
  process.send!({ restPort: ports.rooms, grpcPort: ports.roomsGrpc } satisfies RoomsApiAddress);
}

void main(JSON.parse(process.argv[2]!) as RoomsApiOrder);
