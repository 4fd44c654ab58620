import type { Room } from '../room/room';
import { aRoom } from '../room/room.fixture';
import { aForwarder } from '../scheduler/scheduler.fixture';
import { composePlayerEvent, composeResyncEvent, composeRoomEvent, composeStatusEvent } from './compose-event';
import type { GameEvent } from './event';
import { needsRoom, planForwarding, type ForwardingFacts } from './plan-forwarding';

const address = {
  host: '10.0.0.1',
  ports: [
    { name: 'query', protocol: 'TCP', port: 20_001 },
    { name: 'clientPort', protocol: 'UDP', port: 20_002 },
  ],
};
const running = aRoom({ instance: { status: 'ready', address } });
const validating = aRoom({ validation: true, instance: { status: 'ready', address } });
/** Recorded, and the runtime has not said anything of it. */
const unheard = aRoom({ instance: { status: 'unknown', address: null } });
const homeless = aRoom({ instance: { status: 'pending', address: null } });
const portless = aRoom({ instance: { status: 'ready', address: { host: '10.0.0.1', ports: [] } } });

const roundStarts = composeRoomEvent('roundStarts', {});
const ends = composeRoomEvent('terminating', {});
const ended = composeStatusEvent('terminated', {});
const joins = composePlayerEvent('playerJoin', { playerId: 'p1' });

const planOf = (event: GameEvent, room: Room | null | 'unreadable', forwarders = [aForwarder()]) =>
  planForwarding({ event, room, forwarders, game: 'chess', roomId: 'room-1' });

/** `deliver`, or the action and its reason. */
const inShort = (...args: Parameters<typeof planOf>): string => {
  const plan = planOf(...args);
  return plan.action === 'deliver' ? 'deliver' : `${plan.action}: ${plan.reason}`;
};

describe('who gets an event', () => {
  it('is every enabled forwarder, in their order', () => {
    const forwarders = [
      aForwarder({ name: 'one' }),
      aForwarder({ name: 'two', enabled: false }),
      aForwarder({ name: 'three' }),
    ];
    const plan = planOf(roundStarts, running, forwarders);
    if (plan.action !== 'deliver') throw new Error(plan.action);
    expect(plan.deliveries.map(({ forwarder }) => forwarder.name)).toEqual(['one', 'three']);
  });

  it.each<[string, GameEvent, Room | null | 'unreadable', string]>([
    ['an event of a room', roundStarts, running, 'deliver'],
    ['no event of a validation room', roundStarts, validating, 'skip: validation_room'],
    ['no event of an unknown room', roundStarts, null, 'refuse: unknown_room'],
    ['no event of a room that cannot be read', roundStarts, 'unreadable', 'refuse: room_unreadable'],
    ['no event of a room whose instance nobody knows', roundStarts, unheard, 'refuse: no_address'],
    ['no event of a room without address', roundStarts, homeless, 'refuse: no_address'],
    ['no event of a room without ports', roundStarts, portless, 'refuse: no_address'],
    ['the end of an unknown room', ends, null, 'deliver'],
    ['the end of a room that cannot be read', ends, 'unreadable', 'deliver'],
    ['the end of a room whose instance nobody knows', ends, unheard, 'deliver'],
    ['not the end of a validation room', ends, validating, 'skip: validation_room'],
    ['not the end of a room without address', ends, homeless, 'refuse: no_address'],
    ['not the end of a room without ports', ends, portless, 'refuse: no_address'],
    ['a status that says an end, of an unknown room', ended, null, 'deliver'],
    ['an end in other letters, as no end', composeStatusEvent('TERMINATED', {}), null, 'refuse: unknown_room'],
    [
      'an end that the room wrote beside its event, as an end',
      composeRoomEvent('bye', { pingType: 'terminated' }),
      null,
      'deliver',
    ],
    ['a status', composeStatusEvent('ready', {}), running, 'deliver'],
    ['a status in any letters', composeStatusEvent('OcCupied', {}), running, 'deliver'],
    ['no status that a room cannot have', composeStatusEvent('active', {}), running, 'refuse: invalid_status'],
    ['no empty status', composeStatusEvent('', {}), running, 'refuse: invalid_status'],
    [
      'no status of a validation room, whatever it is',
      composeStatusEvent('?', {}),
      validating,
      'skip: validation_room',
    ],
    ['a resync', composeResyncEvent('occupied', {}), running, 'deliver'],
    ['no resync of an unknown room', composeResyncEvent('occupied', {}), null, 'refuse: unknown_room'],
    ['an event with an empty name', composeRoomEvent('', {}), running, 'deliver'],
    ['a player who joins', joins, running, 'deliver'],
    ['a player who leaves', composePlayerEvent('playerLeft', { playerId: '' }), running, 'deliver'],
    ['a player in an unknown room', joins, null, 'deliver'],
    ['a player in a validation room', joins, validating, 'deliver'],
    [
      'no player who does anything else',
      composePlayerEvent('playerjoin', { playerId: 'p1' }),
      running,
      'refuse: invalid_player_event',
    ],
    ['no player without id', composePlayerEvent('playerJoin', {}), running, 'refuse: no_player_id'],
    [
      'no player whose id is no text',
      composePlayerEvent('playerJoin', { playerId: 1 }),
      running,
      'refuse: no_player_id',
    ],
  ])('%s', (_name, event, room, expected) => {
    expect(inShort(event, room)).toBe(expected);
  });

  it.each<[string, ForwardingFacts['forwarders']]>([
    ['there is none', []],
    ['all are disabled', [aForwarder({ enabled: false }), aForwarder({ name: 'other', enabled: false })]],
  ])('is nobody where %s, whatever is wrong with the event', (_name, forwarders) => {
    for (const event of [roundStarts, composeStatusEvent('?', {}), composePlayerEvent('?', {})]) {
      expect(inShort(event, null, [...forwarders])).toBe('skip: no_forwarder');
      expect(needsRoom({ event, forwarders })).toBe(false);
    }
  });

  it.each<[string, GameEvent, boolean]>([
    ['an event of a room', roundStarts, true],
    ['a status', ended, true],
    ['a player', joins, false],
  ])('of %s depends on the room: %s', (_name, event, expected) => {
    expect(needsRoom({ event, forwarders: [aForwarder()] })).toBe(expected);
  });

  it('says what is wrong in a sentence', () => {
    expect(planOf(composeStatusEvent('active', {}), running)).toEqual({
      action: 'refuse',
      reason: 'invalid_status',
      message: 'invalid room status "active": it must be one of ready, occupied, terminating, terminated',
    });
  });
});

describe('what is told of a place', () => {
  const roomTold = (event: GameEvent, room: Room | null) => {
    const plan = planOf(event, room);
    if (plan.action !== 'deliver') throw new Error(plan.action);
    return plan.deliveries[0]!.message.room;
  };

  it('is the host, the port named clientPort, and all ports', () => {
    expect(roomTold(roundStarts, running)).toEqual({
      game: 'chess',
      roomId: 'room-1',
      host: '10.0.0.1',
      port: 20_002,
      roomType: '',
      metadata: {
        eventType: 'roomEvent',
        roomEvent: 'roundStarts',
        ports: '[{"name":"query","port":20001,"protocol":"TCP"},{"name":"clientPort","port":20002,"protocol":"UDP"}]',
      },
    });
  });

  it('is the first port where none has that name exactly', () => {
    const ports = [
      { name: 'query', protocol: 'TCP', port: 20_001 },
      { name: 'clientport', protocol: 'UDP', port: 20_002 },
    ];
    const room = aRoom({ instance: { status: 'ready', address: { host: 'h', ports } } });
    expect(roomTold(roundStarts, room)).toMatchObject({ port: 20_001 });
  });

  it('is nothing for a room that is gone', () => {
    expect(roomTold(ended, null)).toEqual({
      game: 'chess',
      roomId: 'room-1',
      host: '',
      port: 0,
      roomType: '',
      metadata: { eventType: 'status', pingType: 'terminated', ports: '[{"name":"","port":0,"protocol":""}]' },
    });
  });
});
