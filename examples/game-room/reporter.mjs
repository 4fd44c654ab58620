// How a room reports to Maestro: over a stream while there is one, by REST while there is none.
import { loadRoomStreams, openRoomStream } from './room-stream.mjs';
import { restPings } from './rest-pings.mjs';

/** Pauses before the stream is tried again grow up to this. */
const longestStreamPauseMs = 60_000;

/**
 * `describe()` says how the room is: `{status, runningMatches, metadata}`. `onNotice` hears what Maestro says by itself.
 * Without a gRPC address, or without gRPC's packages, REST does it all.
 */
export function createReporter({
  scheduler,
  room,
  roomsApiUrl,
  roomsGrpcAddress,
  pingIntervalMs,
  streamRetryMs = 1_000,
  describe,
  onNotice,
  log,
}) {
  const pingByRest = restPings({ url: roomsApiUrl, scheduler, room });
  let stream = null;
  let isStreaming = false;
  let streamFailures = 0;
  let hasStopped = false;

  // --- the stream -----------------------------------------------------------------------------------------------------------

  async function keepStream() {
    if (!roomsGrpcAddress) return;
    try {
      const makeClient = await loadRoomStreams();
      connect(makeClient);
    } catch (error) {
      log(`reports by REST only: ${error.message.split('\n')[0]}`);
    }
  }

  function connect(makeClient) {
    if (hasStopped) return;
    const onEnd = (reason) => {
      stream = null;
      if (hasStopped) return;
      if (isStreaming || streamFailures === 0) log(`the stream to Maestro is over (${reason}); reports by REST`);
      isStreaming = false;
      const pauseMs = Math.min(streamRetryMs * 2 ** streamFailures++, longestStreamPauseMs);
      // Jitter: rooms that lost the same Maestro must not all come back in the same moment.
      setTimeout(() => connect(makeClient), pauseMs * (0.5 + Math.random()));
    };
    stream = openRoomStream({ makeClient, address: roomsGrpcAddress, scheduler, room, onNotice, onEnd });
    report();
  }

  // --- pings ----------------------------------------------------------------------------------------------------------------

  /** Resolves to null when the ping was taken, else to the reason why not. Never throws. */
  async function sendPing(timeoutMs, status) {
    const now = describe();
    const said = { ...now, status: status ?? now.status };
    if (stream !== null) {
      const { ack } = await stream.ping(said, timeoutMs);
      if (ack !== undefined) {
        if (!isStreaming) log('reports to Maestro over a stream');
        isStreaming = true;
        streamFailures = 0;
        return ack.success ? null : ack.reason;
      }
      // It broke: REST says the same at once.
    }
    return pingByRest(said, timeoutMs);
  }

  /** Pings go out one after the other, so that an older word never overtakes a newer one. */
  let lastPing = Promise.resolve(null);
  const ping = (timeoutMs, status) => (lastPing = lastPing.then(() => sendPing(timeoutMs, status)));

  let failures = 0;
  let isDue = true;
  let wake = () => undefined;

  /** Wakes the loop before its time: players should not wait for the next interval to be counted. */
  function report() {
    isDue = true;
    if (failures === 0) wake();
  }

  /**
   * Pings until it is stopped: every interval, and at once when something changed. While Maestro is away it tries less and less
   * often, up to every 5 s, and says so once; the game goes on.
   */
  async function run() {
    // Before the first ping: loading gRPC keeps a small machine busy for a moment, and its answer would be late.
    await keepStream();
    while (!hasStopped) {
      isDue = false;
      const reason = await ping(Math.min(Math.max(4_000, pingIntervalMs), 5_000));
      if (reason === null && failures > 0) log('Maestro takes our pings again');
      if (reason !== null && failures === 0) log(`Maestro does not take our pings (${reason}); the game goes on`);
      failures = reason === null ? 0 : failures + 1;
      if (isDue && failures === 0) continue;
      const pauseMs = Math.min(pingIntervalMs * 2 ** failures, Math.max(pingIntervalMs, 5_000));
      // Jitter: rooms that were started together must not ping together for ever.
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, pauseMs * (0.9 + Math.random() / 5));
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  return {
    run,
    report,
    ping,
    /** The room's last word. Answers as `ping` does. */
    async end(timeoutMs, status) {
      hasStopped = true;
      const reason = await ping(timeoutMs, status);
      stream?.close();
      return reason;
    },
  };
}
