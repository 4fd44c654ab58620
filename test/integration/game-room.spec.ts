import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
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
  function start(environment: Record<string, string> = {}): void {
    const made = spawn(process.execPath, [roomFile], {
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
    await eventually(() => expect(output).toContain('no answer within 1000 ms'));
    room?.kill('SIGTERM');
    expect(await exitCode()).toBe(0);
  }, 20_000);

  it('keeps pinging a Maestro that does not know it', async () => {
    recorder.answer = (response) => response.end('{"success":false}');
    start({ GAME_PING_INTERVAL_MS: '50' });
    await eventually(() => expect(recorder.pings.length).toBeGreaterThanOrEqual(3));
    expect(output).toContain('HTTP 200 {"success":false}');
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
