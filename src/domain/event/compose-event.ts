import type { GameEvent } from './event';

/** What the room sent with its event; null when it sent nothing. */
type Metadata = Readonly<Record<string, unknown>> | null;

// What Maestro adds overwrites what the room sent under the same name (`rooms.md` 1.5, 8.3).

/** An event that a room reports of itself, in the game's own words. */
export function composeRoomEvent(event: string, metadata: Metadata): GameEvent {
  return { kind: 'room', type: 'roomEvent', attributes: { ...metadata, eventType: 'roomEvent', roomEvent: event } };
}

/** An event that a room reports of a player. */
export function composePlayerEvent(event: string, metadata: Metadata): GameEvent {
  return { kind: 'player', attributes: { ...metadata, eventType: event } };
}

/** A room's status, because somebody says so. */
export function composeStatusEvent(status: string, metadata: Metadata): GameEvent {
  return { kind: 'room', type: 'status', attributes: { ...metadata, eventType: 'status', pingType: status } };
}

/** A room's status again, because it pinged. */
export function composeResyncEvent(status: string, metadata: Metadata): GameEvent {
  return { kind: 'room', type: 'resync', attributes: { ...metadata, eventType: 'resync', pingType: status } };
}
