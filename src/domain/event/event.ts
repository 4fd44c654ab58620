import { pingStatuses, type PingStatus } from '../room/room';

/** What an event says, as JSON values: what the room sent with it, and what Maestro adds (`compose-event.ts`). */
export type EventAttributes = Readonly<Record<string, unknown>>;

/** Events of a room: one in the game's own words, its status when somebody says so, its status again after a ping. */
export type RoomEventType = 'roomEvent' | 'status' | 'resync';

export type GameEvent =
  { kind: 'room'; type: RoomEventType; attributes: EventAttributes } | { kind: 'player'; attributes: EventAttributes };

/** What a room can say of itself. */
export type ReportedStatus = Exclude<PingStatus, 'unknown'>;
export const reportedStatuses = pingStatuses.filter((status): status is ReportedStatus => status !== 'unknown');

export const playerEvents = ['playerJoin', 'playerLeft'] as const;
export type PlayerEvent = (typeof playerEvents)[number];

/** A room, as a backend is told of it. */
export interface MessageRoom {
  game: string;
  roomId: string;
  /** Empty when it is not known. */
  host: string;
  /** 0 when it is not known. */
  port: number;
  /** Empty when the forwarder states none. */
  roomType: string;
  metadata: Readonly<Record<string, string>>;
}

/** What one forwarder gets of one event (`rooms.md` 8.2). */
export type EventMessage =
  | { type: 'status' | 'resync'; room: MessageRoom; status: ReportedStatus }
  | { type: 'roomEvent'; room: MessageRoom; event: string }
  | {
      type: 'player';
      room: Pick<MessageRoom, 'game' | 'roomId'>;
      playerId: string;
      event: PlayerEvent;
      metadata: Readonly<Record<string, string>>;
    };
