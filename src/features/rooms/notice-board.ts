import { Injectable } from '@nestjs/common';
import { Notices, type Notice } from '../../ports/notices';

/** A notice that concerns one room: what the stream to it is told. */
export type RoomNotice = Extract<Notice, { room: string }>;

/** Takes what it was hung up for off the board. */
export type Unsubscribe = () => void;

/**
 * Hands the notices that reach this process to those in it who wait for them, by what they are about. One watch serves them
 * all, however many they are. A notice may be lost, so nobody relies on it alone.
 */
@Injectable()
export class NoticeBoard {
  private readonly forAllocations = new Map<string, Set<() => void>>();
  private readonly forRooms = new Map<string, Set<(notice: RoomNotice) => void>>();

  constructor(private readonly notices: Notices) {}

  /** Where this process is told of notices: what the stores are given for those who wait here. */
  get address(): string {
    return this.notices.address;
  }

  /** Listens until `signal` aborts. */
  run(signal: AbortSignal): Promise<void> {
    return this.notices.watch((notice) => this.post(notice), signal);
  }

  /** Calls `onServed` when a caller that waits under this id was served. */
  subscribeAllocation(id: string, onServed: () => void): Unsubscribe {
    return subscribe(this.forAllocations, id, onServed);
  }

  /** Calls `onNotice` with what comes for a room. */
  subscribeRoom(scheduler: string, room: string, onNotice: (notice: RoomNotice) => void): Unsubscribe {
    return subscribe(this.forRooms, roomKey(scheduler, room), onNotice);
  }

  private post(notice: Notice): void {
    if (notice.kind === 'allocation_served') this.forAllocations.get(notice.allocation)?.forEach((tell) => tell());
    else this.forRooms.get(roomKey(notice.scheduler, notice.room))?.forEach((tell) => tell(notice));
  }
}

/** Two names side by side: no name holds a NUL. */
function roomKey(scheduler: string, room: string): string {
  return `${scheduler}\0${room}`;
}

function subscribe<T>(board: Map<string, Set<T>>, key: string, subscriber: T): Unsubscribe {
  const subscribers = board.get(key) ?? new Set<T>();
  board.set(key, subscribers.add(subscriber));
  return () => {
    subscribers.delete(subscriber);
    // Another subscriber may have hung up a new list since.
    if (subscribers.size === 0 && board.get(key) === subscribers) board.delete(key);
  };
}
