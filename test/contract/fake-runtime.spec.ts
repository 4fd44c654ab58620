import { FakeRuntime } from '../support/fake-runtime';
import { roomSpec, withHostPorts } from '../support/local-rooms';
import { describeRuntimeContract } from './runtime.contract';

let nextPort = 20_000;

describeRuntimeContract(
  'fake',
  async () => {
    const runtime = new FakeRuntime();
    return {
      runtime,
      anotherClient: () => runtime.anotherClient(),
      spec: (id, changes) => withHostPorts(roomSpec({ id, ...changes }), changes?.hostPorts ?? []),
      freePorts: async (count) => Array.from({ length: count }, () => nextPort++),
      becomeReady: async (id) => runtime.markReady(id),
      crash: async (id) => runtime.kill(id),
      letEnd: async (id) => runtime.end(id),
      sharePlace: async (scheduler) => runtime.sharePlace(scheduler),
      interruptWatches: async () => runtime.cutWatches(),
      unreachable: async () => {
        const lost = new FakeRuntime();
        lost.isReachable = false;
        return lost;
      },
      patienceMs: 1_000,
      dispose: () => runtime.close(),
    };
  },
  { places: 'shared with others' },
);
