import { Notices, type Notice } from '../../ports/notices';
import { NoticeBoard, type RoomNotice } from './notice-board';

class HandedNotices extends Notices {
  override readonly address = 'here';
  hand: (notice: Notice) => void = () => undefined;

  override async watch(onNotice: (notice: Notice) => void): Promise<void> {
    this.hand = onNotice;
  }
}

describe('the board of notices', () => {
  let notices: HandedNotices;
  let board: NoticeBoard;

  beforeEach(async () => {
    notices = new HandedNotices();
    board = new NoticeBoard(notices);
    await board.run(new AbortController().signal);
  });

  const served = (allocation: string): Notice => ({ kind: 'allocation_served', scheduler: 'arena', allocation });
  const draining = (room: string, scheduler = 'arena'): RoomNotice => ({ kind: 'room_draining', scheduler, room });

  it('is reached where its process is', () => {
    expect(board.address).toBe('here');
  });

  it('tells a caller that it was served, and nobody else', () => {
    const told: string[] = [];
    board.subscribeAllocation('a', () => told.push('a'));
    board.subscribeAllocation('b', () => told.push('b'));
    notices.hand(served('b'));
    notices.hand(served('nobody'));
    expect(told).toEqual(['b']);
  });

  it('tells each who listens for a room of this scheduler what comes for it', () => {
    const told: unknown[] = [];
    board.subscribeRoom('arena', 'room-1', (notice) => told.push(['first', notice]));
    board.subscribeRoom('arena', 'room-1', (notice) => told.push(['second', notice]));
    board.subscribeRoom('other', 'room-1', (notice) => told.push(['other', notice]));
    notices.hand(draining('room-1'));
    expect(told).toEqual([
      ['first', draining('room-1')],
      ['second', draining('room-1')],
    ]);
  });

  it('tells nothing any more to who has left, and goes on telling the others', () => {
    const told: string[] = [];
    const leave = board.subscribeRoom('arena', 'room-1', () => told.push('first'));
    board.subscribeRoom('arena', 'room-1', () => told.push('second'));
    leave();
    leave();
    notices.hand(draining('room-1'));
    expect(told).toEqual(['second']);
  });

  it('keeps a newcomer when who left before leaves again', () => {
    const told: string[] = [];
    const leave = board.subscribeAllocation('a', () => told.push('first'));
    leave();
    board.subscribeAllocation('a', () => told.push('second'));
    leave();
    notices.hand(served('a'));
    expect(told).toEqual(['second']);
  });
});
