import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts, LocalRooms, roomSpec, withHostPorts } from '../support/local-rooms';
import { describeRuntimeContract } from './runtime.contract';

describeRuntimeContract('local process', async () => {
  const rooms = new LocalRooms();
  return {
    runtime: rooms.client(),
    anotherClient: () => rooms.client(),
    spec: (id, changes) => withHostPorts(roomSpec({ id, ...changes }), changes?.hostPorts ?? []),
    freePorts,
    becomeReady: async () => undefined,
    crash: async (id) => {
      for (const pid of rooms.pidsOf(id)) process.kill(pid, 'SIGKILL');
    },
    letEnd: async () => undefined,
    interruptWatches: async () => {
      for (const pid of rooms.supervisors()) process.kill(pid, 'SIGKILL');
    },
    unreachable: async () => {
      const file = join(rooms.stateDir, 'a-file');
      writeFileSync(file, '');
      return rooms.client({ stateDir: join(file, 'not-a-folder'), requestTimeoutMs: 500 });
    },
    patienceMs: 10_000,
    dispose: () => rooms.dispose(),
  };
});
