import { Injectable } from '@nestjs/common';
import { DomainError } from '../../domain/errors';
import { Logger } from '../../ports/logger';
import { Metrics } from '../../ports/metrics';
import { repeatUntilAborted } from '../repeat-until-aborted';
import { NoticeBoard } from './notice-board';
import { RoomPingsService } from './room-pings.service';
import { RoomStream, type RoomPeer, type RoomStreamLimits, type RoomStreamOwner } from './room-stream';

export class RoomStreamsOptions implements RoomStreamLimits {
  readonly maxMetadataBytes!: number;
  /** A stream on which nothing came for so long is ended. Milliseconds. */
  readonly idleTimeoutMs!: number;
}

/** A silent stream may outlive its timeout by this much. Milliseconds. */
const longestSweepMs = 5_000;

/** The streams that rooms hold to this process: one a room, none that is silent. */
@Injectable()
export class RoomStreamsService {
  private readonly open = new Set<RoomStream>();
  private readonly byRoom = new Map<string, RoomStream>();
  private readonly owner: RoomStreamOwner = {
    onHello: (stream) => this.takeOver(stream),
    onClose: (stream) => this.forget(stream),
  };

  constructor(
    private readonly pings: RoomPingsService,
    private readonly board: NoticeBoard,
    private readonly metrics: Metrics,
    private readonly logger: Logger,
    private readonly options: RoomStreamsOptions,
  ) {}

  /** Ends the streams that fell silent, until `signal` aborts. One loop for all: a timer each would cost more than the rest. */
  run(signal: AbortSignal): Promise<void> {
    const { metrics, logger } = this;
    const intervalMs = Math.min(this.options.idleTimeoutMs / 4, longestSweepMs);
    return repeatUntilAborted({ name: 'room_streams', intervalMs, metrics, logger }, signal, async () =>
      this.endSilent(performance.now()),
    );
  }

  /** A stream opens. */
  connect(peer: RoomPeer): RoomStream {
    const stream = new RoomStream(peer, this.pings, this.board, this.options, this.owner);
    this.open.add(stream);
    return stream;
  }

  /** `nowMs` is of the monotonic clock. */
  endSilent(nowMs: number): void {
    const { idleTimeoutMs } = this.options;
    for (const stream of this.open) {
      if (nowMs - stream.heardAtMs <= idleTimeoutMs) continue;
      const message = `the room sent nothing for ${idleTimeoutMs / 1_000} seconds`;
      stream.end(new DomainError('deadline_exceeded', 'room_stream.silent', message));
    }
  }

  /** The newer stream wins: the older one is of a connection that broke, and was not missed yet. */
  private takeOver(stream: RoomStream): void {
    const older = this.byRoom.get(stream.key!);
    this.byRoom.set(stream.key!, stream);
    const message = 'a newer stream of this room has taken the place of this one';
    older?.end(new DomainError('aborted', 'room_stream.replaced', message));
  }

  private forget(stream: RoomStream): void {
    this.open.delete(stream);
    if (stream.key !== null && this.byRoom.get(stream.key) === stream) this.byRoom.delete(stream.key);
  }
}
