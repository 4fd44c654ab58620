import { status } from '@grpc/grpc-js';
import { RoomsService } from '../../src/proto/gen/api/v1/rooms_pb';
import { RoomStreamsService } from '../../src/proto/gen/maestro/v1/room_streams_pb';
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
    maestro = await startMaestroInProcess(['management-api', 'rooms-api', 'worker', 'runtime-watcher'], {
      MAESTRO_ROOMSAPI_STREAMIDLETIMEOUT: '8s',
    });
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

  it('hears a room on its stream, and tells it what operators do', async () => {
    await post(maestro.ports.management, '/schedulers', sample({ name: 'streamed', roomsReplicas: 1, forwarders: [] }));
    const { rooms } = await eventually(
      async () => {
        const answer = await fetch(
          `http://127.0.0.1:${maestro.ports.management}/schedulers/streamed/rooms?status=ready`,
        );
        const listed = (await answer.json()) as { rooms: { id: string }[] };
        expect(listed.rooms).toHaveLength(1);
        return listed;
      },
      { timeoutMs: 20_000 },
    );
    const roomName = rooms[0]!.id;
    const stream = client.openStream(RoomStreamsService.method.connect);
    stream.send({ message: { case: 'hello', value: { schedulerName: 'streamed', roomName } } });
    const ping = { sequence: 1n, status: 'occupied', runningMatches: 1n };
    stream.send({ message: { case: 'ping', value: ping } });
    await eventually(() =>
      expect(stream.received[0]?.message).toMatchObject({ case: 'ack', value: { success: true, status: 'occupied' } }),
    );
    const path = `/schedulers/streamed/rooms/${roomName}`;
    await fetch(`http://127.0.0.1:${maestro.ports.management}${path}?drain=true`, { method: 'DELETE' });
    await eventually(() => expect(stream.received.at(-1)?.message.case).toBe('drain'), { timeoutMs: 20_000 });
    await fetch(`http://127.0.0.1:${maestro.ports.management}${path}`, { method: 'DELETE' });
    await eventually(
      () =>
        expect(stream.received.at(-1)?.message).toMatchObject({
          case: 'shutdown',
          value: { reason: 'deleted_by_name' },
        }),
      { timeoutMs: 20_000 },
    );
    // It says nothing more, and is ended after what the setting says.
    expect((await stream.ended).code).toBe(status.DEADLINE_EXCEEDED);
  }, 60_000);
});
