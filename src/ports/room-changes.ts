/** News of a room that may matter to a match in it. */
export interface RoomChange {
  scheduler: string;
  room: string;
  /** Whether it has a match, as far as this piece of news tells: only the room store knows. */
  hasMatch: boolean;
}

export interface RoomChangesListener {
  /** What changes from now on is told. Again after each gap: what changed until then may not have been told. */
  onBegin(): void;
  /** In order for one room. */
  onChanges(changes: RoomChange[]): void;
}

/**
 * Tells which rooms changed their status, or had a match begin or end, soon after it happened. Validation rooms are not told of.
 *
 * Promises: costs the store the same whether thousands of rooms are there or none; reconnects by itself and says that there was a
 * gap. Not in here: what a change means, and what nobody followed: it is for those who can look again.
 */
export abstract class RoomChanges {
  /** Resolves when `signal` aborts, never before. A listener must not throw. */
  abstract follow(listener: RoomChangesListener, signal: AbortSignal): Promise<void>;
}
