import { RoomsService } from '../../src/proto/gen/api/v1/rooms_pb';
import { sample } from '../conformance/sample-scheduler';
import { eventually } from '../support/eventually';
import { GrpcClient } from '../support/grpc-client';
import { startMaestroInProcess, type MaestroInProcess } from '../support/maestro-in-process';
import { RecordingForwarder } from '../support/recording-forwarder';

/** The rooms API as it is deployed: booted by its role, beside a worker and a watcher; only the rooms are pretended. */
describe('the role rooms-api', () => {
  let maestro: MaestroInProcess;
  let game: RecordingForwarder & { address: string };
  let client: GrpcClient;

  beforeAll(async () => {
    game = await RecordingForwarder.start();
    maestro = await startMaestroInProcess(['management-api', 'rooms-api', 'worker', 'runtime-watcher']);
    client = new GrpcClient(maestro.ports.roomsGrpc);
  }, 60_000);
  afterAll(async () => {
    client?.close();
    await maestro?.close();
    await game?.stop();
  }, 60_000);

  async function post(port: number, path: string, body: unknown): Promise<Record<string, unknown>> {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body: JSON.stringify(body) });
    return (await answer.json()) as Record<string, unknown>;
  }

  it('allocates rooms of a fleet over both wires, and tells its backend what they report', async () => {
    const forwarder = { name: 'backend', enable: true, type: 'gRPC', address: game.address };
    await post(
      maestro.ports.management,
      '/schedulers',
      sample({ name: 'arena', roomsReplicas: 2, forwarders: [{ ...forwarder, options: { timeout: '5000' } }] }),
    );
    const byName = { schedulerName: 'arena' };
    const first = await eventually(() => client.call(RoomsService.method.allocateRoom, byName), { timeoutMs: 20_000 });
    const second = await eventually(
      async () => {
        const answer = await post(maestro.ports.rooms, '/scheduler/arena/rooms/allocate', {});
        expect(answer['success']).toBe(true);
        return answer;
      },
      { timeoutMs: 20_000 },
    );
    expect(second['roomId']).not.toBe(first.roomId);
    expect(first).toMatchObject({ success: true, host: '127.0.0.1', ports: [{ protocol: 'UDP' }] });
    const address = await fetch(
      `http://127.0.0.1:${maestro.ports.rooms}/scheduler/arena/rooms/${first.roomId}/address`,
    );
    expect(await address.json()).toMatchObject({ host: first.host, ports: [{ port: first.ports[0]?.port }] });

    const event = { event: 'roundStarts', metadata: { round: 1 } };
    expect(await post(maestro.ports.rooms, `/scheduler/arena/rooms/${first.roomId}/roomevent`, event)).toEqual({
      success: true,
      message: '',
    });
    expect(game.calls.map(({ path }) => path)).toContain('/eventforwarder.GRPCForwarder/SendRoomEvent');
  }, 60_000);
});
