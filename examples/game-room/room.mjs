#!/usr/bin/env node
// A small UDP arena: the whole of what a game server does to live in Maestro, in plain Node. Copy it; see README.md.
import { createSocket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import { createReporter } from './reporter.mjs';

const env = process.env;
const number = (name, fallback) => {
  const value = Number(env[name] ?? fallback);
  if (!Number.isFinite(value) || value < 0)
    throw new Error(`${name} must be a number of at least 0, not "${env[name]}"`);
  return value;
};

const settings = {
  scheduler: env.MAESTRO_SCHEDULER_NAME ?? '',
  room: env.MAESTRO_ROOM_ID ?? '',
  /** Without it the room serves players and reports to nobody, which is handy by hand. */
  roomsApiUrl: env.MAESTRO_ROOMS_API_URL ?? '',
  /** With it the room reports over a stream, while there is one. */
  roomsGrpcAddress: env.MAESTRO_ROOMS_GRPC_ADDRESS ?? '',
  /** The address to listen on. */
  host: env.GAME_HOST ?? '0.0.0.0',
  /** The local runtime tells the host port; on Kubernetes the room listens on its container port. */
  port: number('MAESTRO_PORT_CLIENTPORT', env.MAESTRO_PORT_GAME ?? env.GAME_PORT ?? 7777),
  maxMatches: Math.max(1, number('GAME_MAX_MATCHES', 1)),
  playersPerMatch: Math.max(1, number('GAME_PLAYERS_PER_MATCH', 8)),
  pingIntervalMs: Math.max(50, number('GAME_PING_INTERVAL_MS', 2_000)),
  /** First pause before a stream that broke is tried again; it doubles. */
  streamRetryMs: Math.max(10, number('GAME_STREAM_RETRY_MS', 1_000)),
  playerTimeoutMs: number('GAME_PLAYER_TIMEOUT_MS', 10_000),
  /** How long players may go on after SIGTERM. Keep it below the scheduler's terminationGracePeriod: SIGKILL comes then. */
  drainMs: number('GAME_DRAIN_MS', 7_000),
  tickMs: Math.max(10, number('GAME_TICK_MS', 100)),
  simulate: env.GAME_SIMULATE === '1',
  /** Simulated matches that begin per minute while there is a free one, and how long each lasts on average. */
  simulatedMatchesPerMinute: number('GAME_SIMULATE_MATCHES_PER_MINUTE', 6),
  simulatedMatchMs: Math.max(1, number('GAME_SIMULATE_MATCH_MS', 15_000)),
};

const log = (message) => console.log(`${new Date().toISOString()} ${message}`);

// --- the game -----------------------------------------------------------------------------------------------------------

/** Players by "address:port". A match exists while somebody plays it. */
const players = new Map();
/** Numbers of matches that only pretend to be played. */
const simulated = new Set();
let isDraining = false;

const playersIn = (match) => [...players.values()].filter((player) => player.match === match);
const matchNumbers = () => Array.from({ length: settings.maxMatches }, (_, index) => index + 1);
const runningMatches = () => matchNumbers().filter((match) => simulated.has(match) || playersIn(match).length > 0);

/** The fullest match with a free place, so that matches fill up before new ones begin. Undefined when the room is full. */
function matchToJoin(wanted) {
  const open = matchNumbers().filter(
    (match) => !simulated.has(match) && playersIn(match).length < settings.playersPerMatch,
  );
  if (wanted) return open.find((match) => match === Number(wanted));
  return open.sort((a, b) => playersIn(b).length - playersIn(a).length || a - b)[0];
}

const stateOf = (match) =>
  `state ${match} ${playersIn(match)
    .map(({ name, x, y }) => `${name}:${x},${y}`)
    .join(' ')}`.trimEnd();

const socket = createSocket('udp4');
const send = (text, { address, port }) => socket.send(text, port, address, () => undefined);

/** One datagram is one command. Answers what to say to the sender, or nothing. */
function command(text, sender) {
  const id = `${sender.address}:${sender.port}`;
  const [verb = '', ...words] = text.trim().split(/\s+/);
  const player = players.get(id);
  if (player) player.heardAtMs = Date.now();
  switch (verb) {
    case 'join': {
      if (player) return `welcome ${player.match} ${settings.tickMs}`;
      if (isDraining) return 'full draining';
      const match = matchToJoin(words[1]);
      if (!match) return 'full';
      const name = (words[0] ?? 'player').replace(/[^\w-]/g, '').slice(0, 16) || 'player';
      players.set(id, { name, match, x: 0, y: 0, heardAtMs: Date.now(), sender });
      log(`${name} joins match ${match}`);
      report();
      return `welcome ${match} ${settings.tickMs}`;
    }
    case 'leave':
      if (player) drop(id, 'leaves');
      return 'bye';
    case 'ping':
      return `pong ${words.join(' ')}`.trimEnd();
  }
  // What is above is answered to anybody, with hardly more bytes than were sent; the rest is for players.
  if (!player) return 'error join first';
  switch (verb) {
    case 'move': {
      const [dx, dy] = words.map(Number);
      if (!Number.isFinite(dx) || !Number.isFinite(dy)) return 'error move DX DY';
      player.x = Math.min(100, Math.max(-100, player.x + dx));
      player.y = Math.min(100, Math.max(-100, player.y + dy));
      player.hasMoved = true;
      return undefined;
    }
    case 'state':
      return stateOf(player.match);
    default:
      return `echo ${text}`;
  }
}

function drop(id, why) {
  const player = players.get(id);
  if (!player) return;
  players.delete(id);
  log(`${player.name} ${why} match ${player.match}`);
  report();
}

socket.on('message', (data, sender) => {
  const answer = command(data.toString('utf8').slice(0, 512), sender);
  if (answer !== undefined) send(answer, sender);
});

/** Each tick: everybody hears of a match in which somebody moved; the silent are dropped. */
function tick() {
  const silentSinceMs = Date.now() - settings.playerTimeoutMs;
  for (const [id, player] of players) if (player.heardAtMs < silentSinceMs) drop(id, 'times out of');
  for (const match of new Set(
    [...players.values()].filter((player) => player.hasMoved).map((player) => player.match),
  )) {
    const state = stateOf(match);
    for (const player of playersIn(match)) {
      player.hasMoved = false;
      send(state, player.sender);
    }
  }
}

/** GAME_SIMULATE=1: matches come and go at random, for demos and tests. */
async function simulate() {
  const random = (meanMs) => -Math.log(1 - Math.random()) * meanMs;
  while (!isDraining && settings.simulatedMatchesPerMinute > 0) {
    await sleep(random(60_000 / settings.simulatedMatchesPerMinute));
    const free = matchNumbers().find((match) => !runningMatches().includes(match));
    if (!free || isDraining) continue;
    simulated.add(free);
    report();
    setTimeout(() => {
      simulated.delete(free);
      report();
    }, random(settings.simulatedMatchMs));
  }
}

// --- reporting to Maestro -------------------------------------------------------------------------------------------------

/** How the room is, as its next ping says it. */
const describe = () => ({
  status: isDraining ? 'terminating' : runningMatches().length > 0 ? 'occupied' : 'ready',
  runningMatches: runningMatches().length,
  metadata: { players: players.size, maxMatches: settings.maxMatches },
});

/** What Maestro says by itself. It is enough to know: players are sent here, or no more, whatever the room does. */
function onNotice({ drain, drain_canceled, shutdown, allocated }) {
  if (allocated) log(`Maestro sends players: allocation ${allocated.allocation_id}`);
  // Not yet an order to end: it may be taken back until SIGTERM, so the room goes on as it was.
  if (drain) log('Maestro sends no new players; the room goes once it is empty');
  if (drain_canceled) log('Maestro wants the room again; new players may come');
  if (shutdown) log(`Maestro removes the room (${shutdown.reason}); SIGTERM comes next`);
}

const reporter = settings.roomsApiUrl ? createReporter({ ...settings, describe, onNotice, log }) : null;
const report = () => reporter?.report();

// --- life and end ---------------------------------------------------------------------------------------------------------

/** Told to go: no new players; those that are here may finish, but no longer than `drainMs`. */
async function drain(signal) {
  if (isDraining) return;
  isDraining = true;
  const deadlineMs = Date.now() + settings.drainMs;
  log(`${signal}: ends when its ${runningMatches().length} matches are over, in ${settings.drainMs} ms at the latest`);
  // Also said by an idle room: it goes through `terminating`, not straight to its end.
  await reporter?.ping(1_000);
  while (runningMatches().length > 0 && Date.now() < deadlineMs) await sleep(50);
  for (const player of players.values()) send('bye server closes', player.sender);
  // The watch of the runtime sees our end in any case, so one try with a short deadline is enough.
  const reason = (await reporter?.end(1_000, 'terminated')) ?? null;
  if (reason !== null) log(`the last ping was not taken (${reason})`);
  log('ends');
  socket.close(() => process.exit(0));
}

for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => void drain(signal));

socket.on('error', (error) => {
  log(`cannot serve players: ${error.message}`);
  process.exit(1);
});
socket.bind(settings.port, settings.host, () => {
  log(`room ${settings.room || '(no id)'} serves players on UDP ${settings.host}:${settings.port}`);
  setInterval(tick, settings.tickMs);
  if (reporter) void reporter.run();
  else log('MAESTRO_ROOMS_API_URL is not set: nobody hears how we are');
  if (settings.simulate) void simulate();
});
