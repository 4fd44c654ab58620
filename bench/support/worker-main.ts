import { subscribe } from 'node:diagnostics_channel';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../../src/config/load-config';
import type { OperationStep } from '../../src/features/operations/operation-steps';
import { bootRoles } from '../../src/roles/boot-roles';
import { openResources, type ProcessResources } from '../../src/roles/process-resources';
import { QuietLogger } from '../../test/support/embedded-servers';
import { FakeRuntime } from '../../test/support/fake-runtime';
import { freePorts, temporaryStateDirectory } from '../../test/support/maestro-process';
import type { WorkerOrder } from './worker-process';

class SlowRuntime extends FakeRuntime {
  constructor(private readonly delayMs: number) {
    super();
  }

  override async deleteInstance(): Promise<'not_found'> {
    await sleep(this.delayMs);
    return 'not_found';
  }
}

/** Answers with 0 when it is up, and with the number of ended operations whenever it is asked. Ends on SIGTERM. */
async function main(order: WorkerOrder): Promise<void> {
  let ended = 0;
  subscribe('maestro:operation-step', (message) => {
    const { step, edge } = message as OperationStep;
    if (step === 'ended' && edge === 'after') ended += 1;
  });
  const state = temporaryStateDirectory();
  const { config } = loadConfig({
    environment: {
      MAESTRO_STATE_DIRECTORY: state.path,
      MAESTRO_INTERNALAPI_PORT: String((await freePorts()).internal),
    },
  });
  const { postgresUrl, redisUrl, runtimeDelayMs } = order;
  const resources = await openResources(config, new QuietLogger(), {
    postgresUrl,
    redisUrl,
    processName: 'maestro-bench-worker',
    environment: {},
  });
  const runtime = new SlowRuntime(runtimeDelayMs) as unknown as ProcessResources['runtime'];
  const running = await bootRoles(['worker'], { ...resources, runtime });
  process.on('message', () => process.send!(ended));
  process.once('SIGTERM', () => {
    void running
      .stopAll()
      .then(() => resources.close())
      .then(() => state.remove())
      .then(() => process.exit(0));
  });
  process.send!(0);
}

void main(JSON.parse(process.argv[2]!) as WorkerOrder);
