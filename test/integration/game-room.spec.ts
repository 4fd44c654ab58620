import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { RpcStream, StreamReceiver } from '../../src/api/grpc/answer-stream';
import { startGrpcServer, type RunningGrpcServer } from '../../src/api/grpc/grpc-server';
import { grpcService } from '../../src/api/grpc/rpc-handlers';
import { RoomStreamsService } from '../../src/proto/gen/maestro/v1/room_streams_pb';
import { QuietLogger } from '../support/embedded-servers';
import { eventually } from '../support/eventually';
import { freePorts, LocalRooms, roomSpec } from '../support/local-rooms';

const projectDir = resolve(__dirname, '../..');
const roomFile = resolve(projectDir, 'examples/game-room/room.mjs');

interface TakenPing {
  url: string;
  status: string;
  runningMatches: number;
  timestamp: number;
  metadata: Record<string, unknown>;
}

/** A rooms API that takes pings and remembers them. */
class PingRecorder {
  readonly pings: TakenPing[] = [];
  answer: (response: ServerResponse) => void = (response) => response.end('{"success":true}');
  private server: Server | null = null;

  async listen(port = 0): Promise<number> {
    this.server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        expect(request.method).toBe('PUT');
        this.pings.push({ ...(JSON.parse(body) as TakenPing), url: request.url ?? '' });
        this.answer(response);
      });
    }).listen(port, '127.0.0.1');
    await once(this.server, 'listening');
    return (this.server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((done) => (this.server ? this.server.close(done) : done(null)));
    this.server = null;
  }

  get last(): TakenPing | undefined {
    return this.pings.at(-1);
  }
}

type RoomsEnd = RpcStream<typeof RoomStreamsService.method.connect>;

/** The gRPC side of a rooms API: remembers what comes on streams, and says what a test wants it to. */
class StreamRecorder {
  readonly hellos: string[] = [];
  readonly pings: { status: string; runningMatches: number; metadata?: unknown }[] = [];
  /** Null: pings are not answered. */
  answer: { success: boolean; reason: string } | null = { success: true, reason: '' };
  stream: RoomsEnd | null = null;
  port = 0;
  private server: RunningGrpcServer | null = null;

  async listen(): Promise<void> {
    const connect = (stream: RoomsEnd) => {
      this.stream = stream;
      return {
        onMessage: ({ message }: Parameters<ReturnType<RoomsConnect>['onMessage']>[0]) => {
          if (message.case === 'hello') {
            this.hellos.push(`${message.value.schedulerName}/${message.value.roomName}`);
          } else if (message.case === 'ping') {
            const { sequence, status, runningMatches, metadata } = message.value;
            this.pings.push({ status, runningMatches: Number(runningMatches), metadata });
            if (this.answer !== null) stream.send({ message: { case: 'ack', value: { sequence, ...this.answer } } });
          }
        },
        onHalfClose: () => stream.end(),
        onEnd: () => (this.stream = null),
      };
    };
    const services = [grpcService(RoomStreamsService, { connect })];
    const options = { services, host: '127.0.0.1', port: this.port, logger: new QuietLogger() };
    this.server = await startGrpcServer(options);
    this.port = this.server.port;
  }

  async close(): Promise<void> {
    await this.server?.stop(100);
    this.server = null;
  }

  get last() {
    return this.pings.at(-1);
  }
}

type RoomsConnect = (stream: RoomsEnd) => StreamReceiver<typeof RoomStreamsService.method.connect>;

/** A player's end of the game. */
class Player {
  readonly heard: string[] = [];
  private readonly socket: Socket = createSocket('udp4');

  constructor(private readonly port: number) {
    this.socket.on('message', (message) => this.heard.push(message.toString()));
  }

  say(text: string): void {
    this.socket.send(text, this.port, '127.0.0.1');
  }

  /** Says it again until it is answered: datagrams may be lost, and a room may not listen yet. */
  async ask(text: string, answer: RegExp): Promise<string> {
    return eventually(
      () => {
        this.say(text);
        const found = this.heard.find((line) => answer.test(line));
        expect(found).toBeDefined();
        return found ?? '';
      },
      { everyMs: 30 },
    );
  }

  close(): void {
    this.socket.close();
  }
}

describe('the sample game room', () => {
  let recorder: PingRecorder;
  let apiPort: number;
  let gamePort: number;
  let room: ChildProcess | null;
  let output: string;
  let players: Player[];

  beforeEach(async () => {
    recorder = new PingRecorder();
    apiPort = await recorder.listen();
    [gamePort = 0] = await freePorts(1);
    output = '';
    room = null;
    players = [];
  });

  afterEach(async () => {
    for (const player of players) player.close();
    if (room?.exitCode === null && room.signalCode === null) {
      room.kill('SIGKILL');
      await once(room, 'exit');
    }
    await recorder.close();
  });

  /** The long interval shows that changes are told at once, not at the next interval. */
  function start(environment: Record<string, string> = {}, file = roomFile): void {
    const made = spawn(process.execPath, [file], {
      env: {
        MAESTRO_SCHEDULER_NAME: 'arena',
        MAESTRO_ROOM_ID: 'arena-1',
        MAESTRO_ROOMS_API_URL: `http://127.0.0.1:${apiPort}`,
        MAESTRO_PORT_CLIENTPORT: String(gamePort),
        GAME_PING_INTERVAL_MS: '60000',
        ...environment,
      },
    });
    made.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    made.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    room = made;
  }

  function player(): Player {
    const made = new Player(gamePort);
    players.push(made);
    return made;
  }

  const reported = (status: string, runningMatches: number) =>
    eventually(() => expect(recorder.last).toMatchObject({ status, runningMatches }));

  async function exitCode(): Promise<number | null> {
    if (room?.exitCode === null) await once(room, 'exit');
    return room?.exitCode ?? null;
  }

  it('says that it is ready, where Maestro asked it to', async () => {
    start();
    await reported('ready', 0);
    expect(recorder.last?.url).toBe('/scheduler/arena/rooms/arena-1/ping');
    expect(recorder.last?.metadata).toEqual({ players: 0, maxMatches: 1 });
    expect(Math.abs((recorder.last?.timestamp ?? 0) * 1_000 - Date.now())).toBeLessThan(10_000);
  });

  it('is occupied while somebody plays, and says so at once', async () => {
    start();
    const ann = player();
    await ann.ask('join ann', /^welcome 1 /);
    await reported('occupied', 1);
    ann.say('leave');
    await reported('ready', 0);
  });

  it('counts its matches, and is full when all are', async () => {
    start({ GAME_MAX_MATCHES: '2', GAME_PLAYERS_PER_MATCH: '2' });
    const four = [player(), player(), player(), player()];
    await four[0]?.ask('join a', /^welcome 1 /);
    await four[1]?.ask('join b', /^welcome 1 /);
    await reported('occupied', 1);
    await four[2]?.ask('join c', /^welcome 2 /);
    await reported('occupied', 2);
    await four[3]?.ask('join d', /^welcome 2 /);
    await player().ask('join e', /^full$/);
    for (const one of four) one.say('leave');
    await reported('ready', 0);
  });

  it('plays: moves are seen by everybody in the match', async () => {
    start({ GAME_TICK_MS: '20' });
    const ann = player();
    const bob = player();
    await ann.ask('join ann', /^welcome/);
    await bob.ask('join bob', /^welcome/);
    ann.say('move 3 -2');
    await eventually(() => expect(bob.heard).toContain('state 1 ann:3,-2 bob:0,0'));
    await bob.ask('ping 42', /^pong 42$/);
    await bob.ask('hello', /^echo hello$/);
    await player().ask('state', /^error join first$/);
  });

  it('drops players that went silent', async () => {
    start({ GAME_PLAYER_TIMEOUT_MS: '200', GAME_TICK_MS: '20' });
    await player().ask('join ann', /^welcome/);
    await reported('occupied', 1);
    await reported('ready', 0);
    expect(output).toContain('ann times out');
  });

  it('answers SIGTERM with terminating, then terminated, and exits with 0', async () => {
    start();
    await reported('ready', 0);
    room?.kill('SIGTERM');
    expect(await exitCode()).toBe(0);
    expect(recorder.pings.map(({ status }) => status)).toEqual(['ready', 'terminating', 'terminated']);
  });

  it('lets players finish before it goes, and takes no new ones', async () => {
    start();
    const ann = player();
    await ann.ask('join ann', /^welcome/);
    await reported('occupied', 1);
    room?.kill('SIGTERM');
    await reported('terminating', 1);
    await player().ask('join bob', /^full draining$/);
    await ann.ask('ping', /^pong/);
    expect(room?.exitCode).toBeNull();
    ann.say('leave');
    expect(await exitCode()).toBe(0);
    expect(recorder.last).toMatchObject({ status: 'terminated', runningMatches: 0 });
  });

  it('goes when the time for players is over', async () => {
    start({ GAME_DRAIN_MS: '300' });
    const ann = player();
    await ann.ask('join ann', /^welcome/);
    room?.kill('SIGTERM');
    expect(await exitCode()).toBe(0);
    expect(recorder.last?.status).toBe('terminated');
    await eventually(() => expect(ann.heard).toContain('bye server closes'));
  });

  it('plays on while Maestro is away, says so once, and reports again after it is back', async () => {
    start({ GAME_PING_INTERVAL_MS: '100' });
    await reported('ready', 0);
    await recorder.close();
    const before = recorder.pings.length;
    await eventually(() => expect(output).toContain('does not take our pings (ECONNREFUSED)'));
    await player().ask('join ann', /^welcome/);
    await recorder.listen(apiPort);
    await eventually(() => expect(recorder.pings.length).toBeGreaterThan(before), { timeoutMs: 10_000 });
    await reported('occupied', 1);
    await eventually(() => expect(output).toContain('takes our pings again'));
    expect(output.match(/does not take our pings/g)).toHaveLength(1);
  }, 20_000);

  it('waits no longer than its deadline for an answer, also when it is told to go', async () => {
    recorder.answer = () => undefined;
    start({ GAME_PING_INTERVAL_MS: '100' });
    await eventually(() => expect(output).toContain('no answer within 4000 ms'));
    room?.kill('SIGTERM');
    expect(await exitCode()).toBe(0);
  }, 20_000);

  it('keeps pinging a Maestro that does not know it', async () => {
    recorder.answer = (response) => response.end('{"success":false}');
    start({ GAME_PING_INTERVAL_MS: '50' });
    await eventually(() => expect(recorder.pings.length).toBeGreaterThanOrEqual(3));
    expect(output).toContain('HTTP 200 {"success":false}');
  });

  describe('with a stream', () => {
    let streams: StreamRecorder;

    beforeEach(async () => {
      streams = new StreamRecorder();
      await streams.listen();
    });
    afterEach(() => streams.close());

    const startStreaming = (environment: Record<string, string> = {}) =>
      start({
        MAESTRO_ROOMS_GRPC_ADDRESS: `127.0.0.1:${streams.port}`,
        GAME_STREAM_RETRY_MS: '50',
        ...environment,
      });
    const streamed = (status: string, runningMatches: number) =>
      eventually(() => expect(streams.last).toMatchObject({ status, runningMatches }), { timeoutMs: 10_000 });

    it('reports over it, at once when something changed, and says its metadata when that changed', async () => {
      startStreaming({ GAME_PLAYERS_PER_MATCH: '2' });
      await streamed('ready', 0);
      expect(streams.hellos).toEqual(['arena/arena-1']);
      expect(streams.last?.metadata).toEqual({ players: 0, maxMatches: 1 });
      await eventually(() => expect(output).toContain('reports to Maestro over a stream'));
      const before = recorder.pings.length;
      const ann = player();
      await ann.ask('join ann', /^welcome 1 /);
      await streamed('occupied', 1);
      expect(streams.last?.metadata).toEqual({ players: 1, maxMatches: 1 });
      ann.say('leave');
      await streamed('ready', 0);
      expect(recorder.pings).toHaveLength(before);
    });

    it('leaves metadata out that did not change', async () => {
      startStreaming({ GAME_PING_INTERVAL_MS: '50' });
      const metadata = { players: 0, maxMatches: 1 };
      await eventually(() =>
        expect(streams.pings.slice(0, 3).map((ping) => ping.metadata)).toEqual([metadata, undefined, undefined]),
      );
    });

    it('keeps it when Maestro does not know the room', async () => {
      streams.answer = { success: false, reason: 'unknown_room' };
      startStreaming({ GAME_PING_INTERVAL_MS: '50' });
      await eventually(() => expect(output).toContain('does not take our pings (unknown_room)'));
      streams.answer = { success: true, reason: '' };
      await eventually(() => expect(output).toContain('takes our pings again'), { timeoutMs: 10_000 });
      expect(streams.hellos).toHaveLength(1);
      expect(recorder.pings).toEqual([]);
    });

    it('goes on by REST while it is broken, and comes back to it', async () => {
      startStreaming({ GAME_PING_INTERVAL_MS: '100' });
      await streamed('ready', 0);
      await streams.close();
      const before = recorder.pings.length;
      await eventually(() => expect(recorder.pings.length).toBeGreaterThan(before + 2));
      expect(output).toContain(
        'the stream to Maestro is over (14 UNAVAILABLE: this process stops; call again); reports by REST',
      );
      await player().ask('join ann', /^welcome/);
      await reported('occupied', 1);

      streams.pings.length = 0;
      await streams.listen();
      await streamed('occupied', 1);
      await eventually(() => expect(output.match(/reports to Maestro over a stream/g)).toHaveLength(2));
      // A new stream knows no metadata.
      expect(streams.pings[0]?.metadata).toEqual({ players: 1, maxMatches: 1 });
      const byRest = recorder.pings.length;
      const onStream = streams.pings.length;
      await eventually(() => expect(streams.pings.length).toBeGreaterThan(onStream + 2));
      expect(recorder.pings.length).toBe(byRest);
      expect(output.match(/the stream to Maestro is over/g)).toHaveLength(1);
      expect(output).not.toContain('does not take our pings');
    }, 30_000);

    it('says by REST what the stream does not answer', async () => {
      streams.answer = null;
      startStreaming({ GAME_PING_INTERVAL_MS: '100' });
      await reported('ready', 0);
      await eventually(() => expect(output).toContain('the stream to Maestro is over (no answer within 4000 ms)'));
    });

    it('reports by REST to a Maestro that has no streams', async () => {
      await streams.close();
      const server = await startGrpcServer({
        services: [],
        host: '127.0.0.1',
        port: streams.port,
        logger: new QuietLogger(),
      });
      try {
        startStreaming({ GAME_PING_INTERVAL_MS: '100' });
        await reported('ready', 0);
        await eventually(() => expect(output).toContain('the stream to Maestro is over (12 UNIMPLEMENTED'));
        expect(output).not.toContain('does not take our pings');
      } finally {
        await server.stop(0);
      }
    });

    it('logs what Maestro says by itself', async () => {
      startStreaming();
      await streamed('ready', 0);
      streams.stream?.send({ message: { case: 'allocated', value: { allocationId: 'a-1' } } });
      streams.stream?.send({ message: { case: 'drain', value: {} } });
      streams.stream?.send({ message: { case: 'drainCanceled', value: {} } });
      streams.stream?.send({ message: { case: 'shutdown', value: { reason: 'scale_down' } } });
      await eventually(() => {
        expect(output).toContain('Maestro sends players: allocation a-1');
        expect(output).toContain('Maestro sends no new players');
        expect(output).toContain('Maestro wants the room again');
        expect(output).toContain('Maestro removes the room (scale_down)');
      });
    });

    it('says its end over it', async () => {
      startStreaming();
      await streamed('ready', 0);
      room?.kill('SIGTERM');
      expect(await exitCode()).toBe(0);
      expect(streams.pings.map(({ status }) => status).filter((status) => status !== 'ready')).toEqual([
        'terminating',
        'terminated',
      ]);
    });
  });

  it('stays with REST where gRPC is not installed, and says so once', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'maestro-room-'));
    try {
      for (const file of ['room.mjs', 'reporter.mjs', 'rest-pings.mjs', 'room-stream.mjs']) {
        copyFileSync(resolve(projectDir, 'examples/game-room', file), join(directory, file));
      }
      start({ MAESTRO_ROOMS_GRPC_ADDRESS: '127.0.0.1:1', GAME_PING_INTERVAL_MS: '50' }, join(directory, 'room.mjs'));
      await eventually(() => expect(recorder.pings.length).toBeGreaterThan(2));
      expect(output.match(/reports by REST only: Cannot find package '@grpc\/grpc-js'/g)).toHaveLength(1);
      expect(output).not.toContain('the stream');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('can pretend to be played', async () => {
    start({ GAME_SIMULATE: '1', GAME_SIMULATE_MATCHES_PER_MINUTE: '1200', GAME_SIMULATE_MATCH_MS: '50' });
    await reported('occupied', 1);
    await reported('ready', 0);
    await reported('occupied', 1);
  });

  it('ends with one clear line when its port is taken', async () => {
    const other = createSocket('udp4');
    await new Promise<void>((done) => other.bind(gamePort, '0.0.0.0', done));
    start();
    expect(await exitCode()).toBe(1);
    expect(output).toContain('cannot serve players');
    other.close();
  });

  it.each(['arena.json', 'arena-busy.json'])('runs in the local runtime as %s describes it', async (file) => {
    const { name, spec, portRange } = JSON.parse(
      readFileSync(resolve(projectDir, 'examples/schedulers', file), 'utf8'),
    ) as {
      name: string;
      portRange: { start: number; end: number };
      spec: { containers: ReturnType<typeof roomSpec>['containers'] };
    };
    expect(portRange.end).toBeLessThan(32_768);
    const rooms = new LocalRooms();
    try {
      const runtime = rooms.client({ workingDirectory: projectDir, roomsApiUrl: `http://127.0.0.1:${apiPort}` });
      const [hostPort = 0] = await freePorts(1);
      await runtime.createScheduler(name, 'test');
      await runtime.createInstance(
        roomSpec({
          id: `${name}-1`,
          scheduler: name,
          containers: spec.containers.map((container) => ({
            ...container,
            ports: container.ports.map((port) => ({ ...port, hostPort })),
          })),
        }),
      );
      await eventually(() =>
        expect(recorder.pings.map(({ url, status }) => `${url} ${status}`)).toContain(
          `/scheduler/${name}/rooms/${name}-1/ping ready`,
        ),
      );
      const ann = new Player(hostPort);
      players.push(ann);
      await ann.ask('ping here', /^pong here$/);
    } finally {
      await rooms.dispose();
    }
    expect(rooms.processesOf()).toEqual([]);
  });
});
