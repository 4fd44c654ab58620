import { describeOnKubernetes } from '../support/kube-control-plane';
import { KubeRooms, openKubeCluster, type KubeCluster } from '../support/kube-rooms';
import { roomSpec, withHostPorts } from '../support/local-rooms';
import { describeRuntimeContract } from './runtime.contract';

describeOnKubernetes('Kubernetes runtime', (source) => {
  let cluster: KubeCluster;
  let nextPort = 30_000;

  beforeAll(async () => {
    cluster = await openKubeCluster(source);
  }, 180_000);
  afterAll(() => cluster?.stop());

  describeRuntimeContract(
    'Kubernetes',
    async () => {
      const rooms = await KubeRooms.open(cluster);
      const [runtime, another] = [await rooms.client(), await rooms.client()];
      return {
        runtime,
        anotherClient: () => another,
        spec: (id, changes) => withHostPorts(roomSpec({ id, ...changes }), changes?.hostPorts ?? []),
        freePorts: async (count) => Array.from({ length: count }, () => nextPort++),
        becomeReady: (id) => rooms.machine.run(id),
        crash: (id) => rooms.machine.crash(id),
        letEnd: (id) => rooms.machine.letEnd(id),
        sharePlace: (scheduler) => rooms.machine.addPod(scheduler, 'tool'),
        interruptWatches: async () => {
          rooms.proxy.forgetVersionsUpTo(await rooms.machine.version());
          await rooms.machine.version();
        },
        unreachable: () => rooms.client({ cluster: { masterUrl: 'http://127.0.0.1:9' }, callDeadlineMs: 300 }),
        patienceMs: 15_000,
        dispose: () => rooms.dispose(),
      };
    },
    { hostPorts: 'left to the cluster', places: 'shared with others' },
  );
});
