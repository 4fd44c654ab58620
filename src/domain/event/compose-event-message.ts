import type { RoomAddress } from '../room/room';
import type { Forwarder } from '../scheduler/scheduler';
import type { EventAttributes, EventMessage, PlayerEvent, ReportedStatus, RoomEventType } from './event';
import { printAttribute } from './print-attribute';

/** The port that players connect to has this name; a room without one is reached at its first port. */
const clientPortName = 'clientPort';

export interface RoomFacts {
  game: string;
  roomId: string;
  /** With at least one port. */
  address: RoomAddress;
}

/** A room event whose words were read out of its attributes. */
export type ReadRoomEvent =
  | { type: Extract<RoomEventType, 'roomEvent'>; event: string; attributes: EventAttributes }
  | { type: Exclude<RoomEventType, 'roomEvent'>; status: ReportedStatus; attributes: EventAttributes };

/** What a forwarder gets of an event of a room. Where both name the same key, a status wins over the forwarder, a room event does not. */
export function composeRoomMessage(event: ReadRoomEvent, facts: RoomFacts, forwarder: Forwarder): EventMessage {
  const { host, ports } = facts.address;
  const ofForwarder = printAll(forwarder.options.metadata);
  const ofEvent = {
    ...printAll(event.attributes),
    ports: JSON.stringify(ports.map(({ name, port, protocol }) => ({ name, port, protocol }))),
  };
  const room = {
    game: facts.game,
    roomId: facts.roomId,
    host,
    port: (ports.find(({ name }) => name === clientPortName) ?? ports[0])?.port ?? 0,
  };
  if (event.type === 'roomEvent') {
    const metadata = { ...ofEvent, ...ofForwarder };
    return { type: event.type, room: { ...room, roomType: '', metadata }, event: event.event };
  }
  const { roomType } = forwarder.options.metadata;
  const metadata = { ...ofForwarder, ...ofEvent };
  return {
    type: event.type,
    room: { ...room, roomType: typeof roomType === 'string' ? roomType : '', metadata },
    status: event.status,
  };
}

/** A player's event whose words were read out of its attributes. */
export interface ReadPlayerEvent {
  event: PlayerEvent;
  playerId: string;
  attributes: EventAttributes;
}

/** What a forwarder gets of an event of a player. Of what the forwarder states, only `roomType` is in it. */
export function composePlayerMessage(
  { event, playerId, attributes }: ReadPlayerEvent,
  { game, roomId }: Pick<RoomFacts, 'game' | 'roomId'>,
  forwarder: Forwarder,
): EventMessage {
  const { roomType } = forwarder.options.metadata;
  const metadata = printAll({ ...attributes, ...(roomType === undefined ? {} : { roomType }) });
  return { type: 'player', room: { game, roomId }, playerId, event, metadata };
}

function printAll(attributes: EventAttributes): Record<string, string> {
  return Object.fromEntries(Object.entries(attributes).map(([key, value]) => [key, printAttribute(value)]));
}
