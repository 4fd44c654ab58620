import { aForwarder } from '../scheduler/scheduler.fixture';
import { composePlayerEvent, composeResyncEvent, composeRoomEvent, composeStatusEvent } from './compose-event';
import { composePlayerMessage, composeRoomMessage } from './compose-event-message';

const facts = {
  game: 'chess',
  roomId: 'room-1',
  address: { host: '10.0.0.1', ports: [{ name: 'game', protocol: 'TCP', port: 7_777 }] },
};
const ports = '[{"name":"game","port":7777,"protocol":"TCP"}]';
const stating = (metadata: Record<string, unknown>) => aForwarder({ options: { timeoutMs: 1_000, metadata } });

const roomMessage = (metadata: Record<string, unknown>, ofForwarder: Record<string, unknown>) => {
  const { attributes } = composeRoomEvent('round', metadata);
  return composeRoomMessage({ type: 'roomEvent', event: 'round', attributes }, facts, stating(ofForwarder));
};
const statusMessage = (metadata: Record<string, unknown>, ofForwarder: Record<string, unknown>) => {
  const { attributes } = composeStatusEvent('Ready', metadata);
  return composeRoomMessage({ type: 'status', status: 'ready', attributes }, facts, stating(ofForwarder));
};
const playerMessage = (metadata: Record<string, unknown>, ofForwarder: Record<string, unknown>) => {
  const { attributes } = composePlayerEvent('playerLeft', { playerId: 'p1', ...metadata });
  return composePlayerMessage({ event: 'playerLeft', playerId: 'p1', attributes }, facts, stating(ofForwarder));
};

describe('what a forwarder gets of an event of a room', () => {
  it('has no room type of its own, and what the forwarder states wins', () => {
    expect(roomMessage({ a: 'event', b: 245, eventType: 'x' }, { a: 'forwarder', c: true, roomType: 'green' })).toEqual(
      {
        type: 'roomEvent',
        event: 'round',
        room: {
          game: 'chess',
          roomId: 'room-1',
          host: '10.0.0.1',
          port: 7_777,
          roomType: '',
          metadata: {
            a: 'forwarder',
            b: '245',
            c: 'true',
            roomType: 'green',
            eventType: 'roomEvent',
            roomEvent: 'round',
            ports,
          },
        },
      },
    );
  });

  it('even where the forwarder states what Maestro adds', () => {
    expect(roomMessage({}, { ports: 'none', roomEvent: 'other' })).toMatchObject({
      event: 'round',
      room: { metadata: { ports: 'none', roomEvent: 'other' } },
    });
  });
});

describe('what a forwarder gets of a status', () => {
  it('has the room type that the forwarder states, and what the event says wins', () => {
    expect(statusMessage({ a: 'event', b: null }, { a: 'forwarder', c: [1, 'x'], roomType: 'green' })).toEqual({
      type: 'status',
      status: 'ready',
      room: {
        game: 'chess',
        roomId: 'room-1',
        host: '10.0.0.1',
        port: 7_777,
        roomType: 'green',
        metadata: {
          a: 'event',
          b: '<nil>',
          c: '[1 x]',
          roomType: 'green',
          eventType: 'status',
          pingType: 'Ready',
          ports,
        },
      },
    });
  });

  it.each([
    ['no room type where none is stated', {}, ''],
    ['no room type where it is no text', { roomType: 5 }, ''],
  ])('has %s', (_name, ofForwarder, roomType) => {
    expect(statusMessage({}, ofForwarder).room).toMatchObject({ roomType });
  });

  it('has our ports, whatever the room and the forwarder call so', () => {
    expect(statusMessage({ ports: 'mine' }, { ports: 'theirs' }).room).toMatchObject({ metadata: { ports } });
  });

  it('is the same for a resync, but for the words of the event', () => {
    const { attributes } = composeResyncEvent('ready', { a: 1 });
    const message = composeRoomMessage({ type: 'resync', status: 'ready', attributes }, facts, stating({ a: 2 }));
    expect(message).toMatchObject({
      type: 'resync',
      status: 'ready',
      room: { metadata: { a: '1', eventType: 'resync', pingType: 'ready' } },
    });
  });
});

describe('what a forwarder gets of an event of a player', () => {
  it('has nothing of the forwarder but its room type, and nothing of the room but its name', () => {
    expect(playerMessage({ a: 1e6, roomType: 'red' }, { a: 'forwarder', b: 1, roomType: 'green' })).toEqual({
      type: 'player',
      room: { game: 'chess', roomId: 'room-1' },
      playerId: 'p1',
      event: 'playerLeft',
      metadata: { a: '1e+06', playerId: 'p1', eventType: 'playerLeft', roomType: 'green' },
    });
  });

  it('keeps the room type that the room sent where the forwarder states none', () => {
    expect(playerMessage({ roomType: 'red' }, {})).toMatchObject({ metadata: { roomType: 'red' } });
  });
});

describe('what one forwarder states', () => {
  it('no other one sees', () => {
    const { attributes } = composeRoomEvent('round', { a: 1 });
    const event = { type: 'roomEvent', event: 'round', attributes } as const;
    composeRoomMessage(event, facts, stating({ secret: 'of the first' }));
    expect(composeRoomMessage(event, facts, stating({})).room).toEqual(
      expect.objectContaining({ metadata: { a: '1', eventType: 'roomEvent', roomEvent: 'round', ports } }),
    );
  });

  it('keeps its name, even one that JavaScript has a meaning for', () => {
    const message = roomMessage(JSON.parse('{"__proto__":"x"}') as Record<string, unknown>, {});
    expect(Object.entries((message.room as { metadata: object }).metadata)).toContainEqual(['__proto__', 'x']);
  });
});
