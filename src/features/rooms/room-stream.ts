import { DomainError } from '../../domain/errors';
import type { NoticeBoard, RoomNotice, Unsubscribe } from './notice-board';
import type { RoomPing, RoomPingsService } from './room-pings.service';

/** A ping on a stream. */
export interface StreamedPing extends Pick<RoomPing, 'status' | 'runningMatches'> {
  /** The room's own number for it, which only comes back. */
  sequence: bigint;
  /** Null: as it was said last. */
  metadata: Record<string, unknown> | null;
}

/** What became of a ping, and of those before it that it overtook. */
export interface PingAcknowledgement {
  sequence: bigint;
  success: boolean;
  /** A word of `PingFailure`, or a sentence for what can never be stored; empty when it was stored. */
  reason: string;
  /** Empty when it was not stored. */
  status: string;
  draining: boolean;
  openAllocations: number;
}

/** The room's end of its stream, as the transport lends it. */
export interface RoomPeer {
  acknowledge(ack: PingAcknowledgement): void;
  notify(notice: RoomNotice): void;
  /** Ends the stream; well, when there is no error. `close` of the stream follows. */
  end(error?: unknown): void;
}

export interface RoomStreamLimits {
  /** Largest `metadata` of a ping, as JSON in UTF-8. Bytes. */
  readonly maxMetadataBytes: number;
}

/** Told of what concerns the other streams of this process. */
export interface RoomStreamOwner {
  /** The stream has said whose it is. */
  onHello(stream: RoomStream): void;
  onClose(stream: RoomStream): void;
}

/**
 * How soon metadata that was stored is stored once more. The store may lose it, and a room need say it only once, so the
 * stream remembers it. Milliseconds.
 */
const metadataRepeatMs = 60_000;

/**
 * What a connected room's stream does: first it says who it is, then it pings. Pings are stored one after the other; while
 * one is on its way only the newest of those that come is kept, and its acknowledgement stands for all of them.
 */
export class RoomStream {
  /** `<scheduler>\0<room>`, null until the hello: no name holds a NUL. */
  key: string | null = null;
  /** When something came for the last time, by the monotonic clock. Milliseconds. */
  heardAtMs = performance.now();
  private scheduler = '';
  private room = '';
  private unsubscribe: Unsubscribe | null = null;
  private isStoring = false;
  private waiting: StreamedPing | null = null;
  private metadata: StreamedPing['metadata'] = null;
  private metadataDueMs = 0;
  private isHalfClosed = false;
  private isOver = false;

  constructor(
    private readonly peer: RoomPeer,
    private readonly pings: RoomPingsService,
    private readonly board: NoticeBoard,
    private readonly limits: RoomStreamLimits,
    private readonly owner: RoomStreamOwner,
  ) {}

  /** @throws DomainError `room_stream.second_hello`, `room_stream.incomplete_hello` (invalid_argument): the stream's end. */
  hello(scheduler: string, room: string): void {
    if (this.isOver) return;
    this.heardAtMs = performance.now();
    if (this.key !== null) throw broken('second_hello', 'hello is said once, as the first message of the stream');
    if (scheduler === '' || room === '')
      throw broken('incomplete_hello', 'hello must have a scheduler_name and a room_name');
    this.key = `${scheduler}\0${room}`;
    this.scheduler = scheduler;
    this.room = room;
    this.unsubscribe = this.board.subscribeRoom(scheduler, room, (notice) => this.peer.notify(notice));
    this.owner.onHello(this);
  }

  /** @throws DomainError `room_stream.no_hello` (invalid_argument): the stream's end. */
  ping(ping: StreamedPing): void {
    if (this.isOver) return;
    this.heardAtMs = performance.now();
    if (this.key === null) throw broken('no_hello', 'the first message of a stream must be hello');
    if (ping.metadata !== null) {
      const refusal = this.refuseMetadata(ping.metadata);
      if (refusal !== null) return this.peer.acknowledge(failure(ping, refusal));
      this.metadata = ping.metadata;
      this.metadataDueMs = 0;
    }
    if (this.isStoring) this.waiting = ping;
    else void this.storeAll(ping);
  }

  /** The room sends nothing more: it is answered what it sent, and the stream ends. */
  halfClose(): void {
    this.isHalfClosed = true;
    if (!this.isStoring) this.end();
  }

  /** Ends it from this side. */
  end(error?: unknown): void {
    if (this.isOver) return;
    this.close();
    this.peer.end(error);
  }

  /** It is gone: what was not begun is not stored any more. */
  close(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.waiting = null;
    this.unsubscribe?.();
    this.owner.onClose(this);
  }

  private async storeAll(first: StreamedPing): Promise<void> {
    this.isStoring = true;
    for (let ping: StreamedPing | null = first; ping !== null; ping = this.takeWaiting()) {
      try {
        const ack = await this.store(ping);
        if (this.isOver) return;
        this.peer.acknowledge(ack);
      } catch (error) {
        return this.end(error);
      }
    }
    this.isStoring = false;
    if (this.isHalfClosed) this.end();
  }

  private takeWaiting(): StreamedPing | null {
    const ping = this.waiting;
    this.waiting = null;
    return ping;
  }

  private async store(ping: StreamedPing): Promise<PingAcknowledgement> {
    const { sequence, status, runningMatches } = ping;
    const { metadata } = this;
    const isDue = metadata !== null && performance.now() >= this.metadataDueMs;
    try {
      const answer = await this.pings.handlePing({
        scheduler: this.scheduler,
        room: this.room,
        status,
        runningMatches,
        metadata: isDue ? metadata : undefined,
        listener: this.board.address,
      });
      if (!answer.success) {
        // Of a room that is not known (any more) nothing is, so it is told everything again.
        this.metadataDueMs = 0;
        return failure(ping, answer.reason);
      }
      // Newer metadata may have come meanwhile, and is due.
      if (isDue && metadata === this.metadata) this.metadataDueMs = performance.now() + metadataRepeatMs;
      const { draining, openAllocations } = answer;
      return { sequence, success: true, reason: '', status: answer.status, draining, openAllocations };
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'invalid_argument') return failure(ping, error.message);
      throw error;
    }
  }

  private refuseMetadata(metadata: object): string | null {
    const limit = this.limits.maxMetadataBytes;
    const size = Buffer.byteLength(JSON.stringify(metadata));
    return size > limit ? `metadata must be at most ${limit} bytes of JSON, got ${size}` : null;
  }
}

function failure({ sequence }: StreamedPing, reason: string): PingAcknowledgement {
  return { sequence, success: false, reason, status: '', draining: false, openAllocations: 0 };
}

function broken(rule: string, sentence: string): DomainError {
  return new DomainError('invalid_argument', `room_stream.${rule}`, sentence);
}
