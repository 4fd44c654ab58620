import { Injectable } from '@nestjs/common';
import { DomainError, messageOf } from '../../domain/errors';
import { mostRunningMatches, pingStatuses, type PingStatus, type RoomStatus } from '../../domain/room/room';
import { Logger } from '../../ports/logger';
import { Metrics, type PingFailure } from '../../ports/metrics';
import { RoomAllocationStore } from '../../ports/room-allocation-store';
import { RoomStore, type PingOutcome } from '../../ports/room-store';
import type { SchedulerSettings } from '../../ports/scheduler-store';
import { WakeUps } from '../../ports/wake-ups';
import { RepeatedWarnings } from '../repeated-warnings';
import { RunsByKey } from '../runs-by-key';
import { SchedulerSettingsCache } from '../schedulers/scheduler-settings';
import { HealthRings } from './health-rings';

export interface RoomPing {
  scheduler: string;
  room: string;
  /** `ready`, `occupied`, `terminating` or `terminated`, lower case. */
  status: string;
  runningMatches: number;
  /** Null: the room says that it has none. Undefined: as it said before. */
  metadata: Record<string, unknown> | null | undefined;
  /** Where this process is told of notices for the room, if it holds a stream to it. */
  listener?: string;
}

export type PingAnswer =
  | { success: true; status: RoomStatus; draining: boolean; openAllocations: number }
  | { success: false; reason: PingFailure };

const reportable: readonly string[] = pingStatuses.filter((status) => status !== 'unknown');
/** What a room becomes when its last match is over. */
const idle: readonly string[] = ['ready', 'unready'];
const leaving: readonly string[] = ['terminating', 'terminated', 'error'];

/** The hot path: one look into process memory, one round trip to the store. */
@Injectable()
export class RoomPingsService {
  private readonly warnings: RepeatedWarnings;
  /** Pings of a large fleet free many slots in a moment, and one call serves all of them. */
  private readonly servings = new RunsByKey((scheduler) => this.serveWaiting(scheduler));

  constructor(
    private readonly settings: SchedulerSettingsCache,
    private readonly rooms: RoomStore,
    private readonly allocations: RoomAllocationStore,
    private readonly wakeUps: WakeUps,
    private readonly healthRings: HealthRings,
    private readonly metrics: Metrics,
    logger: Logger,
  ) {
    this.warnings = new RepeatedWarnings(logger);
  }

  /**
   * Applies a ping. What the room cannot mend (unknown room, a store that is away) is `success: false`, as in v10.
   * @throws DomainError `ping.invalid_status`, `ping.invalid_running_matches` (invalid_argument).
   */
  async handlePing(ping: RoomPing): Promise<PingAnswer> {
    const status = parseStatus(ping.status);
    if (ping.runningMatches < 0 || ping.runningMatches > mostRunningMatches) {
      throw new DomainError(
        'invalid_argument',
        'ping.invalid_running_matches',
        `runningMatches must be from 0 to ${mostRunningMatches}, got ${ping.runningMatches}`,
      );
    }
    let knownScheduler: string | null = null;
    try {
      const settings = await this.settings.find(ping.scheduler);
      if (settings === null) return this.fail(null, 'unknown_scheduler');
      knownScheduler = ping.scheduler;
      const outcome = await this.rooms.applyPing(
        {
          scheduler: ping.scheduler,
          room: ping.room,
          status,
          runningMatches: ping.runningMatches,
          metadata: ping.metadata && JSON.stringify(ping.metadata),
          listener: ping.listener ?? null,
          resync: settings.forwarders.some(({ enabled }) => enabled),
        },
        { maxMatches: settings.maxMatches },
      );
      return this.answer(ping, outcome, settings);
    } catch (error) {
      this.warnings.warn(
        { scheduler_name: ping.scheduler, room_id: ping.room, err: messageOf(error) },
        'a ping could not be stored',
        kindOf(error),
      );
      return this.fail(knownScheduler, 'store_error');
    }
  }

  private answer(ping: RoomPing, outcome: PingOutcome, { isTerminating }: SchedulerSettings): PingAnswer {
    if (outcome.outcome !== 'applied') return this.fail(ping.scheduler, outcome.outcome);
    const { to: status, draining, openAllocations } = outcome;
    this.ringFor(ping.scheduler, outcome);
    // Not awaited by the room's answer either.
    if (outcome.isAwaited && !isTerminating) this.servings.ask(ping.scheduler);
    return { success: true, status, draining, openAllocations };
  }

  /** Not awaited: the room's answer does not wait for the bell, and the bell does not fail. */
  private ringFor(scheduler: string, outcome: Extract<PingOutcome, { outcome: 'applied' }>): void {
    const { from, to: status, validation, draining, isUsedOtherwise, hasLostMatch } = outcome;
    const isOther = from !== status;
    if (validation) {
      if (isOther) void this.wakeUps.ring('operations', scheduler);
      return;
    }
    const mayGo = draining && (hasLostMatch || (isOther && idle.includes(status)));
    if (mayGo || (isOther && leaving.includes(status))) this.healthRings.roomLeft(scheduler);
    // Also without another status: of ten matches that a room may have, the first one and the last one make it another status.
    else if (isOther || isUsedOtherwise) this.healthRings.useChanged(scheduler);
  }

  /** Who waits also looks by itself, so a failure costs a moment. */
  private async serveWaiting(scheduler: string): Promise<void> {
    try {
      await this.allocations.serveWaiting(scheduler);
    } catch (error) {
      this.warnings.warn(
        { scheduler_name: scheduler, err: messageOf(error) },
        'callers that wait were not served',
        kindOf(error),
      );
    }
  }

  /** For the count: a name that came from outside must not become a label, so `scheduler` is null until it is known. */
  private fail(scheduler: string | null, reason: PingFailure): PingAnswer {
    this.metrics.pingFailed(scheduler, reason);
    return { success: false, reason };
  }
}

/** A bounded set, unlike messages. */
function kindOf(error: unknown): string {
  return error instanceof DomainError ? error.code : '';
}

function parseStatus(status: string): Exclude<PingStatus, 'unknown'> {
  if (reportable.includes(status)) return status as Exclude<PingStatus, 'unknown'>;
  throw new DomainError(
    'invalid_argument',
    'ping.invalid_status',
    `invalid room status "${status}": it must be one of ${reportable.join(', ')}`,
  );
}
