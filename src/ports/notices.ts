/** Something that one process tells another at once. May be lost: whoever waits for one also looks by itself, now and then. */
export type Notice =
  /** A caller that waits was served. */
  | { kind: 'allocation_served'; scheduler: string; allocation: string }
  /** For the room, on its stream: a caller was given a slot of it. `expiresAtMs`: until when it may be reported. */
  | { kind: 'room_allocated'; scheduler: string; room: string; allocation: string; expiresAtMs: number }
  /** For the room: it gets no new players, and goes once it is empty. */
  | { kind: 'room_draining'; scheduler: string; room: string }
  /** For the room: that was taken back, it is wanted again and gets new players. */
  | { kind: 'room_drain_canceled'; scheduler: string; room: string }
  /** For the room: it is being removed. */
  | { kind: 'room_terminating'; scheduler: string; room: string; reason: string };

/** Told to this process by whichever other one (or the store itself) has news for it. */
export abstract class Notices {
  /** Where this process is reached; given to the store with what it should be told of. */
  abstract readonly address: string;

  /** Calls `onNotice` with each one that comes, until `signal` aborts. Survives outages; what came in between is lost. */
  abstract watch(onNotice: (notice: Notice) => void, signal: AbortSignal): Promise<void>;
}
