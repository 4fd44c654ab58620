import { eventually } from '../../../test/support/eventually';
import { FakeEventForwarder } from '../../../test/support/fake-event-forwarder';
import { RecordedLog } from '../../../test/support/recorded-log';
import { aRoom } from '../../domain/room/room.fixture';
import type { Room, RoomAddress } from '../../domain/room/room';
import type { Forwarder } from '../../domain/scheduler/scheduler';
import type { Metrics } from '../../ports/metrics';
import type { RoomStore } from '../../ports/room-store';
import type { SchedulerSettings, SchedulerStore } from '../../ports/scheduler-store';
import { SchedulerSettingsCache } from '../schedulers/scheduler-settings';
import { EventForwardingService } from './event-forwarding.service';

const address: RoomAddress = { host: '10.0.0.1', ports: [{ name: 'game', protocol: 'TCP', port: 7_777 }] };

const aForwarder = (name: string, changes: Partial<Forwarder> = {}): Forwarder => ({
  name,
  enabled: true,
  type: 'gRPC',
  address: `${name}:1`,
  options: { timeoutMs: 1_000, metadata: {} },
  ...changes,
});

class Schedulers {
  readonly known: SchedulerSettings[] = [];
  isAway = false;

  async listSettings(): Promise<SchedulerSettings[]> {
    if (this.isAway) throw new Error('the database is away');
    return this.known;
  }
}

class Rooms implements Pick<RoomStore, 'getRoom'> {
  readonly known: Room[] = [];
  looks = 0;
  isAway = false;

  async getRoom(scheduler: string, id: string): Promise<Room | null> {
    this.looks++;
    if (this.isAway) throw new Error('the store is away');
    return this.known.find((room) => room.scheduler === scheduler && room.id === id) ?? null;
  }
}

describe('the forwarding of events', () => {
  let schedulers: Schedulers;
  let rooms: Rooms;
  let forwarder: FakeEventForwarder;
  let log: RecordedLog;
  let counted: unknown[];
  let service: EventForwardingService;

  beforeEach(() => {
    [schedulers, rooms, forwarder, log, counted] = [
      new Schedulers(),
      new Rooms(),
      new FakeEventForwarder(),
      new RecordedLog(),
      [],
    ];
    const metrics = {
      eventForwarded: (event: unknown) => counted.push(event),
      eventRefused: (...refusal: unknown[]) => counted.push(refusal),
    } as unknown as Metrics;
    const cache = new SchedulerSettingsCache(schedulers as unknown as SchedulerStore, metrics, log, {
      pollIntervalMs: 60_000,
    });
    service = new EventForwardingService(cache, rooms as unknown as RoomStore, forwarder, metrics, log);
  });

  const withForwarders = (...forwarders: Forwarder[]) =>
    schedulers.known.push({
      name: 'arena',
      game: 'chess',
      maxMatches: 1,
      activeVersion: 'v1.0.0',
      isAutoscaled: false,
      forwarders,
      placement: { affinity: '', toleration: '' },
      isTerminating: false,
    });

  const withRoom = (id: string, { validation = false } = {}) =>
    rooms.known.push(aRoom({ id, scheduler: 'arena', validation, instance: { address } }));

  const roundStarts = (room = 'room-1') =>
    service.forwardRoomEvent('arena', room, { event: 'roundStarts', metadata: { map: 'woods' } });
  const joins = (playerId: unknown = 'p1', room = 'room-1') =>
    service.forwardPlayerEvent('arena', room, { event: 'playerJoin', metadata: { playerId } });
  const isReady = (room = 'room-1') => service.forwardRoomStatus('arena', room, { status: 'ready', metadata: null });
  const taken = { success: true, message: '' };

  it('tells a forwarder of an event of a room, within the forwarder’s timeout', async () => {
    withForwarders(aForwarder('a', { options: { timeoutMs: 250, metadata: { x: 1 } } }));
    withRoom('room-1');
    forwarder.setBackend('a:1', { code: 200 });
    expect(await roundStarts()).toEqual(taken);
    expect(forwarder.sent).toMatchObject([
      {
        message: {
          type: 'roomEvent',
          event: 'roundStarts',
          room: { game: 'chess', roomId: 'room-1', host: '10.0.0.1', port: 7_777, metadata: { map: 'woods', x: '1' } },
        },
        endpoint: { address: 'a:1', timeoutMs: 250 },
      },
    ]);
    expect(counted).toEqual([{ scheduler: 'arena', game: 'chess', kind: 'room', code: 'OK', success: true }]);
    expect(log.lines).toEqual([]);
  });

  it('tells of a status', async () => {
    withForwarders(aForwarder('a'));
    withRoom('room-1');
    forwarder.setBackend('a:1', { code: 200 });
    expect(await isReady()).toEqual(taken);
    expect(forwarder.sent).toMatchObject([{ message: { type: 'status', status: 'ready' } }]);
  });

  it('tells of a player without a look at the room', async () => {
    withForwarders(aForwarder('a'));
    forwarder.setBackend('a:1', { code: 404 });
    expect(await joins()).toEqual(taken);
    expect(forwarder.sent).toMatchObject([{ message: { type: 'player', playerId: 'p1', event: 'playerJoin' } }]);
    expect(counted).toEqual([{ scheduler: 'arena', game: 'chess', kind: 'player', code: 'NotFound', success: true }]);
    expect(rooms.looks).toBe(0);
  });

  it('succeeds where no forwarder is enabled, without a look at the room', async () => {
    withForwarders(aForwarder('a', { enabled: false }));
    expect([await roundStarts(), await isReady(), await joins()]).toEqual([taken, taken, taken]);
    expect([rooms.looks, forwarder.sent, counted]).toEqual([0, [], []]);
  });

  it('keeps validation rooms to itself', async () => {
    withForwarders(aForwarder('a'));
    withRoom('room-1', { validation: true });
    expect([await roundStarts(), await isReady()]).toEqual([taken, taken]);
    expect([forwarder.sent, counted]).toEqual([[], []]);
  });

  it('tells every forwarder, whatever becomes of the others, and names those that failed', async () => {
    const broken = { failure: 'Internal', reason: 'it broke' } as const;
    withForwarders(
      aForwarder('broken'),
      aForwarder('good'),
      aForwarder('off', { enabled: false }),
      aForwarder('away'),
      aForwarder('slow', { options: { timeoutMs: 20, metadata: {} } }),
      aForwarder('unhappy'),
    );
    withRoom('room-1');
    forwarder.setBackend('broken:1', broken);
    forwarder.setBackend('good:1', { code: 200 });
    forwarder.setBackend('slow:1', 'never answers');
    forwarder.setBackend('unhappy:1', { code: 500 });
    expect(await roundStarts()).toEqual({
      success: false,
      message:
        'failed to forward event room at "broken" with code Internal: it broke; ' +
        'failed to forward event room at "away" with code Unavailable: nobody listens there; ' +
        'failed to forward event room at "slow" with code DeadlineExceeded: no answer in 20 ms',
    });
    expect(forwarder.sent.map(({ endpoint }) => endpoint.address)).toEqual([
      'broken:1',
      'good:1',
      'away:1',
      'slow:1',
      'unhappy:1',
    ]);
    const outcomes = counted as { code: string; success: boolean }[];
    expect(outcomes.map(({ code, success }) => [code, success])).toEqual(
      expect.arrayContaining([
        ['Internal', false],
        ['OK', true],
        ['Unavailable', false],
        ['DeadlineExceeded', false],
        ['Internal', true],
      ]),
    );
    expect(log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields)).toContainEqual({
      scheduler_name: 'arena',
      room_id: 'room-1',
      forwarder_name: 'broken',
      event_type: 'roomEvent',
      code: 'Internal',
      err: 'it broke',
    });
  });

  it('waits for all forwarders at the same time', async () => {
    const forwarders = ['a', 'b', 'c'].map((name) =>
      aForwarder(name, { options: { timeoutMs: 60_000, metadata: {} } }),
    );
    withForwarders(...forwarders);
    for (const { address } of forwarders) forwarder.setBackend(address, 'never answers');
    const answer = joins();
    await eventually(() => expect(forwarder.sent).toHaveLength(3));
    await forwarder.close();
    expect(await answer).toMatchObject({ success: false });
  });

  it.each<[string, () => Promise<unknown>, string, string]>([
    ['an unknown room', () => roundStarts('nobody'), 'unknown_room', 'there is no room "nobody"'],
    ['a status of an unknown room', () => isReady('nobody'), 'unknown_room', 'there is no room "nobody"'],
    ['a player without id', () => joins(7), 'no_player_id', 'metadata must have a text "playerId"'],
  ])('refuses %s, and tells no forwarder', async (_name, send, reason, message) => {
    withForwarders(aForwarder('a'));
    withRoom('room-1');
    expect(await send()).toEqual({ success: false, message });
    expect(forwarder.sent).toEqual([]);
    expect(counted).toEqual([['arena', expect.stringMatching(/room|player/), reason]]);
    expect(log.lines).toMatchObject([{ level: 'debug', fields: { scheduler_name: 'arena', reason: message } }]);
  });

  it('refuses events of a scheduler that does not exist', async () => {
    expect(await joins()).toEqual({ success: false, message: 'there is no scheduler "arena"' });
    expect(counted).toEqual([['arena', 'player', 'unknown_scheduler']]);
  });

  it('says when the scheduler cannot be read', async () => {
    schedulers.isAway = true;
    expect(await roundStarts()).toEqual({
      success: false,
      message: 'scheduler "arena" could not be read; try again',
    });
    expect(counted).toEqual([['arena', 'room', 'scheduler_unreadable']]);
    expect(log.lines).toContainEqual({
      level: 'warn',
      fields: { scheduler_name: 'arena', room_id: 'room-1', err: 'the database is away' },
      message: 'the scheduler of an event could not be read',
    });
  });

  it('says when the room cannot be read, but tells of its end', async () => {
    withForwarders(aForwarder('a'));
    forwarder.setBackend('a:1', { code: 200 });
    rooms.isAway = true;
    expect(await roundStarts()).toEqual({ success: false, message: 'room "room-1" could not be read; try again' });
    expect(await service.forwardRoomStatus('arena', 'room-1', { status: 'terminated', metadata: null })).toEqual(taken);
    expect(forwarder.sent).toMatchObject([{ message: { type: 'status', room: { host: '', port: 0 } } }]);
    expect(log.lines).toContainEqual({
      level: 'warn',
      fields: { scheduler_name: 'arena', room_id: 'room-1', err: 'the store is away' },
      message: 'the room of an event could not be read',
    });
  });
});
