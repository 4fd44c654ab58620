import type { Room, RoomAddress } from '../room/room';
import type { Forwarder } from '../scheduler/scheduler';
import {
  composePlayerMessage,
  composeRoomMessage,
  type ReadPlayerEvent,
  type ReadRoomEvent,
} from './compose-event-message';
import {
  playerEvents,
  reportedStatuses,
  type EventMessage,
  type GameEvent,
  type PlayerEvent,
  type ReportedStatus,
} from './event';

export interface ForwardingFacts {
  event: GameEvent;
  game: string;
  roomId: string;
  /** All that the scheduler states. */
  forwarders: readonly Forwarder[];
  /** Null: there is no such room. Asked only where `needsRoom` says so. */
  room: Pick<Room, 'validation' | 'instance'> | null | 'unreadable';
}

/** Why an event is not forwarded although somebody wants it. Bounded: a label of a metric. */
export type RefusalReason =
  'unknown_room' | 'room_unreadable' | 'no_address' | 'invalid_status' | 'invalid_player_event' | 'no_player_id';

export type ForwardingPlan =
  /** To each of them, side by side: none waits for another. */
  | { action: 'deliver'; deliveries: { forwarder: Forwarder; message: EventMessage }[] }
  /** Nobody is to be told; the caller has nothing to worry about. */
  | { action: 'skip'; reason: 'no_forwarder' | 'validation_room' }
  /** `message` says what is wrong, to who sent the event. */
  | { action: 'refuse'; reason: RefusalReason; message: string };

/** What a backend is told of the place of a room that is gone. */
const unknownAddress: RoomAddress = { host: '', ports: [{ name: '', protocol: '', port: 0 }] };

/** Whether `planForwarding` asks about the room: it does for an event of a room that somebody wants. */
export function needsRoom({ event, forwarders }: Pick<ForwardingFacts, 'event' | 'forwarders'>): boolean {
  return event.kind === 'room' && forwarders.some(({ enabled }) => enabled);
}

/** Who gets an event, and what, or why nobody does (`rooms.md` 8.4). */
export function planForwarding(facts: ForwardingFacts): ForwardingPlan {
  const { event } = facts;
  const forwarders = facts.forwarders.filter(({ enabled }) => enabled);
  if (forwarders.length === 0) return { action: 'skip', reason: 'no_forwarder' };
  if (event.kind === 'player') {
    const read = readPlayerEvent(event);
    if ('action' in read) return read;
    return deliverTo(forwarders, (forwarder) => composePlayerMessage(read, facts, forwarder));
  }
  if (facts.room !== null && facts.room !== 'unreadable' && facts.room.validation) {
    return { action: 'skip', reason: 'validation_room' };
  }
  const address = addressOf(facts, event);
  if ('action' in address) return address;
  const read = readRoomEvent(event);
  if ('action' in read) return read;
  return deliverTo(forwarders, (forwarder) => composeRoomMessage(read, { ...facts, address }, forwarder));
}

type Refusal = Extract<ForwardingPlan, { action: 'refuse' }>;

function deliverTo(forwarders: Forwarder[], compose: (forwarder: Forwarder) => EventMessage): ForwardingPlan {
  return {
    action: 'deliver',
    deliveries: forwarders.map((forwarder) => ({ forwarder, message: compose(forwarder) })),
  };
}

/** The end of a room is told even when its record or its instance is gone already; everything else needs a place to go to. */
function addressOf({ room, roomId }: ForwardingFacts, event: GameEvent): RoomAddress | Refusal {
  const isGone = room === null || room === 'unreadable' || room.instance.status === 'unknown';
  if (isGone && tellsAnEnd(event)) return unknownAddress;
  if (room === null) return refuse('unknown_room', `there is no room "${roomId}"`);
  if (room === 'unreadable') return refuse('room_unreadable', `room "${roomId}" could not be read; try again`);
  const { address } = room.instance;
  if (address === null || address.ports.length === 0) {
    return refuse('no_address', `room "${roomId}" has no port that players could connect to`);
  }
  return address;
}

/** Case counts, as in v10; and so does what the room itself sent under either name. */
function tellsAnEnd({ attributes }: GameEvent): boolean {
  return [attributes['roomEvent'], attributes['pingType']].some(
    (word) => word === 'terminating' || word === 'terminated',
  );
}

function readRoomEvent(event: Extract<GameEvent, { kind: 'room' }>): ReadRoomEvent | Refusal {
  const { type, attributes } = event;
  if (type === 'roomEvent') return { type, attributes, event: String(attributes['roomEvent']) };
  const word = String(attributes['pingType']);
  const status = word.toLowerCase() as ReportedStatus;
  if (reportedStatuses.includes(status)) return { type, attributes, status };
  return refuse('invalid_status', `invalid room status "${word}": it must be one of ${reportedStatuses.join(', ')}`);
}

function readPlayerEvent({ attributes }: GameEvent): ReadPlayerEvent | Refusal {
  const { playerId } = attributes;
  if (typeof playerId !== 'string') return refuse('no_player_id', 'metadata must have a text "playerId"');
  const event = String(attributes['eventType']) as PlayerEvent;
  if (playerEvents.includes(event)) return { event, playerId, attributes };
  return refuse(
    'invalid_player_event',
    `invalid player event "${event}": it must be one of ${playerEvents.join(', ')}`,
  );
}

function refuse(reason: RefusalReason, message: string): Refusal {
  return { action: 'refuse', reason, message };
}
