import { Injectable } from '@nestjs/common';
import { DomainError, messageOf } from '../../domain/errors';
import { pingStatuses, type PingStatus } from '../../domain/room/room';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { RoomStore, type PingOutcome } from '../../ports/room-store';
import { WakeUps } from '../../ports/wake-ups';
import { SchedulerSettingsCache } from '../schedulers/scheduler-settings';

export class RoomPingsOptions {
  /** How long an allocation holds a room that still says `ready`. Milliseconds; v10 300,000. */
  readonly allocationTtlMs!: number;
}

export interface RoomPing {
  scheduler: string;
  room: string;
  /** `ready`, `occupied`, `terminating` or `terminated`, lower case. */
  status: string;
  runningMatches: number;
  metadata: Record<string, unknown> | null;
}

/** int32: far more than the 35 that a room can hold, and exact in every store. */
const mostRunningMatches = 2 ** 31 - 1;

const reportable: readonly string[] = pingStatuses.filter((status) => status !== 'unknown');
const leaving: readonly string[] = ['terminating', 'terminated', 'error'];

/** The hot path: one look into process memory, one round trip to the store. */
@Injectable()
export class RoomPingsService {
  constructor(
    private readonly settings: SchedulerSettingsCache,
    private readonly rooms: RoomStore,
    private readonly wakeUps: WakeUps,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: RoomPingsOptions,
  ) {}

  /**
   * Applies a ping. What the room cannot mend (unknown room, a store that is away) is `success: false`, as in v10.
   * @throws DomainError `ping.invalid_status`, `ping.invalid_running_matches` (invalid_argument).
   */
  async handlePing(ping: RoomPing): Promise<{ success: boolean }> {
    const status = parseStatus(ping.status);
    if (ping.runningMatches < 0 || ping.runningMatches > mostRunningMatches) {
      throw new DomainError(
        'invalid_argument',
        'ping.invalid_running_matches',
        `runningMatches must be from 0 to ${mostRunningMatches}, got ${ping.runningMatches}`,
      );
    }
    try {
      const settings = await this.settings.find(ping.scheduler);
      if (settings === null) return this.fail(ping, 'unknown_scheduler');
      const outcome = await this.rooms.applyPing(
        {
          scheduler: ping.scheduler,
          room: ping.room,
          status,
          runningMatches: ping.runningMatches,
          metadata: ping.metadata === null ? null : JSON.stringify(ping.metadata),
        },
        { maxMatches: settings.maxMatches, allocationTtlMs: this.options.allocationTtlMs },
      );
      return this.answer(ping, outcome);
    } catch (error) {
      this.logger.warn(
        { scheduler_name: ping.scheduler, room_id: ping.room, err: messageOf(error) },
        'a ping could not be stored',
      );
      return this.fail(ping, 'store_error');
    }
  }

  private answer(ping: RoomPing, outcome: PingOutcome): { success: boolean } {
    if (outcome.outcome !== 'applied') return this.fail(ping, outcome.outcome);
    if (outcome.from !== outcome.to) {
      // Not awaited: the room's answer does not wait for the bell, and the bell does not fail.
      if (outcome.validation) void this.wakeUps.ring('operations', ping.scheduler);
      else if (leaving.includes(outcome.to)) void this.wakeUps.ring('health', ping.scheduler);
    }
    return { success: true };
  }

  private fail(ping: RoomPing, reason: Parameters<Metrics['pingFailed']>[1]): { success: boolean } {
    this.metrics.pingFailed(ping.scheduler, reason);
    return { success: false };
  }
}

function parseStatus(status: string): Exclude<PingStatus, 'unknown'> {
  if (reportable.includes(status)) return status as Exclude<PingStatus, 'unknown'>;
  throw new DomainError(
    'invalid_argument',
    'ping.invalid_status',
    `invalid room status "${status}": it must be one of ${reportable.join(', ')}`,
  );
}
