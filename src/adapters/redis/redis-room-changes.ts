import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../domain/errors';
import { hasMatch, roomStatuses } from '../../domain/room/room';
import type { Logger } from '../../ports/logger';
import { RoomChanges, type RoomChange, type RoomChangesListener } from '../../ports/room-changes';
import { EventStreams, type StreamEntry } from './event-streams';
import { createRedisConnection, reconnectDelayMs } from './redis-connection';

export interface RedisRoomChangesOptions {
  url: string;
  /** Seen in `CLIENT LIST`. */
  name: string;
  /** How long one read waits for news. Milliseconds; 5,000 when not given. */
  waitMs?: number;
}

/** Entries of one partition that are taken at once; the rest comes with the next read. */
const mostPerRead = 500;
/** How much longer than its wait a read may take before Redis counts as silent. Milliseconds. */
const graceMs = 2_500;

/**
 * Room changes by the event streams, which the scripts write in the same step as the room: one read waits for all 64 partitions.
 * Who follows has a connection of its own, and who does not has none. Streams are bounded: of more changes than they hold between
 * two reads the oldest are missed, without a word.
 */
export class RedisRoomChanges extends RoomChanges {
  constructor(
    private readonly options: RedisRoomChangesOptions,
    private readonly logger: Logger,
  ) {
    super();
  }

  async follow(listener: RoomChangesListener, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { url, name, waitMs = 5_000 } = this.options;
    const redis = createRedisConnection({
      url,
      name,
      commandTimeoutMs: waitMs + graceMs,
      // A read that was under way when the connection broke fails at once: what its new server wrote before would be missed.
      maxRetriesPerRequest: 0,
      resendsInFlight: false,
      logger: this.logger,
    });
    const stop = (): void => redis.disconnect();
    signal.addEventListener('abort', stop, { once: true });
    const streams = new EventStreams(redis, { waitMs, most: mostPerRead });
    let hasBegun = false;
    for (let failures = 0; !signal.aborted;) {
      try {
        if (!hasBegun) {
          await streams.skipToEnd();
          listener.onBegin();
          hasBegun = true;
        }
        const changes = (await streams.read()).flatMap((entry) => this.changeOf(entry));
        failures = 0;
        if (changes.length > 0 && !signal.aborted) listener.onChanges(changes);
      } catch (error) {
        if (signal.aborted) break;
        hasBegun = false;
        failures += 1;
        this.logger.warn(
          { failures, err: messageOf(error) },
          'changes of rooms could not be followed; it is tried again',
        );
        await sleep(reconnectDelayMs(failures), undefined, { signal }).catch(() => undefined);
      }
    }
    signal.removeEventListener('abort', stop);
  }

  /** None for what is not understood: a newer release writes to the same streams. */
  private changeOf({ kind, text }: StreamEntry): RoomChange[] {
    if (kind !== 'event' && kind !== 'match') return [];
    const said = JSON.parse(text) as EventRecord | RoomChange;
    const { scheduler, room } = said;
    if ('hasMatch' in said) return [{ scheduler, room, hasMatch: said.hasMatch }];
    const status = roomStatuses[said.to];
    if (status === undefined) return [];
    // A match ends with its room, whatever it said last.
    const isOver = status === 'terminated';
    const hasOne = !isOver && hasMatch({ status, runningMatches: said.runningMatches, allocations: [] });
    return [{ scheduler, room, hasMatch: hasOne }];
  }
}

/** Of an `event` what is read here. */
interface EventRecord {
  scheduler: string;
  room: string;
  /** Index in `roomStatuses`. */
  to: number;
  runningMatches: number;
}
