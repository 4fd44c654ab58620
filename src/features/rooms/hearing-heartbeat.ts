import { Injectable } from '@nestjs/common';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { RoomStore } from '../../ports/room-store';
import { repeatUntilAborted } from '../repeat-until-aborted';

export class HearingHeartbeatOptions {
  readonly intervalMs!: number;
}

/** Missed beats before the rooms' silence no longer counts. */
const missedBeats = 4;

/**
 * A rooms API says into the store that it hears. While none does, rooms cannot be blamed for silence: a night without
 * Maestro expires nobody.
 */
@Injectable()
export class HearingHeartbeat {
  constructor(
    private readonly rooms: RoomStore,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: HearingHeartbeatOptions,
  ) {}

  run(signal: AbortSignal): Promise<void> {
    const { metrics, logger } = this;
    const { intervalMs } = this.options;
    return repeatUntilAborted({ name: 'hearing_heartbeat', intervalMs, metrics, logger }, signal, () =>
      this.rooms.markHearing(intervalMs * missedBeats),
    );
  }
}
