import { RecordedLog } from '../../../test/support/recorded-log';
import { DomainError } from '../../domain/errors';
import type { Metrics } from '../../ports/metrics';
import { Notices, type Notice } from '../../ports/notices';
import { NoticeBoard } from './notice-board';
import type { PingAnswer, RoomPing, RoomPingsService } from './room-pings.service';
import type { PingAcknowledgement, RoomPeer, StreamedPing } from './room-stream';
import { RoomStreamsService } from './room-streams.service';

class HandedNotices extends Notices {
  override readonly address = 'here';
  hand: (notice: Notice) => void = () => undefined;

  override async watch(onNotice: (notice: Notice) => void): Promise<void> {
    this.hand = onNotice;
  }
}

const stored: PingAnswer = { success: true, status: 'ready', draining: false, openAllocations: 0 };

/** Keeps each ping until the test answers it. */
class HeldPings {
  readonly taken: RoomPing[] = [];
  private readonly held: { resolve: (answer: PingAnswer) => void; reject: (error: unknown) => void }[] = [];

  handlePing(ping: RoomPing): Promise<PingAnswer> {
    this.taken.push(ping);
    return new Promise((resolve, reject) => this.held.push({ resolve, reject }));
  }

  async answer(answer: PingAnswer | Error = stored): Promise<void> {
    const next = this.held.shift()!;
    if (answer instanceof Error) next.reject(answer);
    else next.resolve(answer);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

class RecordedPeer implements RoomPeer {
  readonly acks: PingAcknowledgement[] = [];
  readonly notices: Notice[] = [];
  /** Undefined while it is open; null for a good end. */
  ended: unknown;

  acknowledge(ack: PingAcknowledgement): void {
    this.acks.push(ack);
  }
  notify(notice: Notice): void {
    this.notices.push(notice);
  }
  end(error: unknown = null): void {
    this.ended = error;
  }
}

describe('the stream of a room', () => {
  const idleTimeoutMs = 1_000;
  let notices: HandedNotices;
  let pings: HeldPings;
  let streams: RoomStreamsService;

  beforeEach(async () => {
    notices = new HandedNotices();
    pings = new HeldPings();
    const board = new NoticeBoard(notices);
    await board.run(new AbortController().signal);
    const options = { idleTimeoutMs, maxMetadataBytes: 50 };
    streams = new RoomStreamsService(
      pings as unknown as RoomPingsService,
      board,
      {} as Metrics,
      new RecordedLog(),
      options,
    );
  });

  function open() {
    const peer = new RecordedPeer();
    return { peer, stream: streams.connect(peer) };
  }
  function connected(room = 'room-1') {
    const opened = open();
    opened.stream.hello('arena', room);
    return opened;
  }
  const ping = (sequence: number, said: Partial<StreamedPing> = {}): StreamedPing => ({
    sequence: BigInt(sequence),
    status: 'ready',
    runningMatches: 0,
    metadata: null,
    ...said,
  });
  const metadataSent = () => pings.taken.map(({ metadata }) => metadata);

  it('stores a ping for the room that said hello, with where its notices go', async () => {
    const { peer, stream } = connected();
    stream.ping(ping(7, { status: 'occupied', runningMatches: 2 }));
    expect(pings.taken).toEqual([
      {
        scheduler: 'arena',
        room: 'room-1',
        status: 'occupied',
        runningMatches: 2,
        metadata: undefined,
        listener: 'here',
      },
    ]);
    await pings.answer({ success: true, status: 'occupied', draining: true, openAllocations: 3 });
    expect(peer.acks).toEqual([
      { sequence: 7n, success: true, reason: '', status: 'occupied', draining: true, openAllocations: 3 },
    ]);
  });

  it.each(['unknown_scheduler', 'unknown_room', 'refused', 'store_error'] as const)(
    'tells a room that its ping was not stored: %s',
    async (reason) => {
      const { peer, stream } = connected();
      stream.ping(ping(1));
      await pings.answer({ success: false, reason });
      expect(peer.acks).toEqual([
        { sequence: 1n, success: false, reason, status: '', draining: false, openAllocations: 0 },
      ]);
      expect(peer.ended).toBeUndefined();
    },
  );

  it('tells a room what is wrong with a ping, and stays open', async () => {
    const { peer, stream } = connected();
    stream.ping(ping(1));
    await pings.answer(new DomainError('invalid_argument', 'ping.invalid_status', 'invalid room status "x"'));
    stream.ping(ping(2));
    await pings.answer();
    expect(peer.acks).toMatchObject([
      { sequence: 1n, success: false, reason: 'invalid room status "x"' },
      { sequence: 2n, success: true },
    ]);
    expect(peer.ended).toBeUndefined();
  });

  it('ends with what nobody expected', async () => {
    const { peer, stream } = connected();
    const surprise = new TypeError('x is not a function');
    stream.ping(ping(1));
    await pings.answer(surprise);
    expect(peer.ended).toBe(surprise);
  });

  it.each([
    ['a ping comes before hello', 'room_stream.no_hello', false, (s: RoomStreamUnderTest) => s.ping(ping(1))],
    ['hello is said twice', 'room_stream.second_hello', true, (s: RoomStreamUnderTest) => s.hello('arena', 'room-1')],
    ['no scheduler is said', 'room_stream.incomplete_hello', false, (s: RoomStreamUnderTest) => s.hello('', 'room-1')],
    ['no room is said', 'room_stream.incomplete_hello', false, (s: RoomStreamUnderTest) => s.hello('arena', '')],
  ] as const)('breaks off when %s', (_, code, saysHello, act) => {
    const { stream } = saysHello ? connected() : open();
    expect(() => act(stream)).toThrow(expect.objectContaining({ kind: 'invalid_argument', code }) as Error);
    expect(pings.taken).toEqual([]);
  });

  describe('while a ping is on its way', () => {
    it('keeps only the newest of those that come, and acknowledges it for all', async () => {
      const { peer, stream } = connected();
      stream.ping(ping(1));
      for (let sequence = 2; sequence <= 100; sequence++) stream.ping(ping(sequence, { runningMatches: sequence }));
      expect(pings.taken).toHaveLength(1);
      await pings.answer();
      expect(pings.taken).toHaveLength(2);
      expect(pings.taken[1]).toMatchObject({ runningMatches: 100 });
      await pings.answer();
      expect(peer.acks.map(({ sequence }) => sequence)).toEqual([1n, 100n]);
      expect(pings.taken).toHaveLength(2);
    });

    it('lets the metadata of one that is skipped go along with the next', async () => {
      const { stream } = connected();
      stream.ping(ping(1));
      stream.ping(ping(2, { metadata: { map: 'harbour' } }));
      stream.ping(ping(3));
      await pings.answer();
      await pings.answer();
      stream.ping(ping(4));
      expect(metadataSent()).toEqual([undefined, { map: 'harbour' }, undefined]);
    });

    it('takes metadata that comes meanwhile for newer than what is on its way', async () => {
      const { stream } = connected();
      stream.ping(ping(1, { metadata: { map: 'harbour' } }));
      stream.ping(ping(2, { metadata: { map: 'castle' } }));
      await pings.answer();
      expect(metadataSent()).toEqual([{ map: 'harbour' }, { map: 'castle' }]);
    });
  });

  it('says metadata again with each ping until one is stored', async () => {
    const { stream } = connected();
    const metadata = { map: 'harbour' };
    stream.ping(ping(1, { metadata }));
    await pings.answer({ success: false, reason: 'store_error' });
    stream.ping(ping(2));
    await pings.answer();
    stream.ping(ping(3));
    await pings.answer({ success: false, reason: 'unknown_room' });
    stream.ping(ping(4));
    expect(metadataSent()).toEqual([metadata, metadata, undefined, metadata]);
  });

  it('says metadata again after a minute, for a store that lost it', async () => {
    const { stream } = connected();
    const metadata = { map: 'harbour' };
    const now = jest.spyOn(performance, 'now').mockReturnValue(1_000);
    try {
      stream.ping(ping(1, { metadata }));
      await pings.answer();
      now.mockReturnValue(60_999);
      stream.ping(ping(2));
      await pings.answer();
      now.mockReturnValue(61_000);
      stream.ping(ping(3));
    } finally {
      now.mockRestore();
    }
    expect(metadataSent()).toEqual([metadata, undefined, metadata]);
  });

  it('refuses metadata that is too large at once, and keeps what it had', async () => {
    const { peer, stream } = connected();
    stream.ping(ping(1));
    stream.ping(ping(2, { metadata: { map: 'x'.repeat(50) } }));
    expect(peer.acks).toMatchObject([
      { sequence: 2n, success: false, reason: 'metadata must be at most 50 bytes of JSON, got 60' },
    ]);
    await pings.answer();
    stream.ping(ping(3));
    expect(metadataSent()).toEqual([undefined, undefined]);
  });

  it('tells the room what comes for it, until it is gone', () => {
    const { peer, stream } = connected();
    const notice: Notice = { kind: 'room_draining', scheduler: 'arena', room: 'room-1' };
    notices.hand(notice);
    notices.hand({ ...notice, room: 'room-2' });
    stream.close();
    notices.hand(notice);
    expect(peer.notices).toEqual([notice]);
  });

  it('gives way to a newer stream of the same room', async () => {
    const older = connected();
    const other = connected('room-2');
    older.stream.ping(ping(1));
    older.stream.ping(ping(2));
    const newer = connected();
    expect(older.peer.ended).toMatchObject({ kind: 'aborted', code: 'room_stream.replaced' });
    expect([newer.peer.ended, other.peer.ended]).toEqual([undefined, undefined]);

    await pings.answer();
    expect(pings.taken).toHaveLength(1);
    expect(older.peer.acks).toEqual([]);
    notices.hand({ kind: 'room_draining', scheduler: 'arena', room: 'room-1' });
    expect([older.peer.notices.length, newer.peer.notices.length]).toEqual([0, 1]);

    older.stream.close();
    const newest = connected();
    expect(newer.peer.ended).toMatchObject({ code: 'room_stream.replaced' });
    expect(newest.peer.ended).toBeUndefined();
  });

  it('answers what was sent before it ends by half', async () => {
    const { peer, stream } = connected();
    stream.ping(ping(1));
    stream.ping(ping(2));
    stream.halfClose();
    await pings.answer();
    expect(peer.ended).toBeUndefined();
    await pings.answer();
    expect(peer.acks.map(({ sequence }) => sequence)).toEqual([1n, 2n]);
    expect(peer.ended).toBeNull();
  });

  it.each([true, false])('ends at once when it is half closed and owes nothing, hello said: %s', (saysHello) => {
    const { peer, stream } = saysHello ? connected() : open();
    stream.halfClose();
    expect(peer.ended).toBeNull();
  });

  it('stores nothing more of a room that is gone', async () => {
    const { peer, stream } = connected();
    stream.ping(ping(1));
    stream.ping(ping(2));
    stream.close();
    await pings.answer();
    stream.ping(ping(3));
    expect(pings.taken).toHaveLength(1);
    expect(peer.acks).toEqual([]);
  });

  it('ends when nothing comes for too long, hello or not', () => {
    const mute = open();
    const silent = connected('room-2');
    const openedMs = performance.now();
    streams.endSilent(openedMs + idleTimeoutMs - 100);
    expect([mute.peer.ended, silent.peer.ended]).toEqual([undefined, undefined]);
    streams.endSilent(openedMs + idleTimeoutMs + 100);
    const ended = {
      kind: 'deadline_exceeded',
      code: 'room_stream.silent',
      message: 'the room sent nothing for 1 seconds',
    };
    expect(mute.peer.ended).toMatchObject(ended);
    expect(silent.peer.ended).toMatchObject(ended);
  });
});

type RoomStreamUnderTest = ReturnType<RoomStreamsService['connect']>;
