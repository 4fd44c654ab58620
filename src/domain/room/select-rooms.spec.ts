import type { RoomListing } from './parse-room-listing';
import { aRoom } from './room.fixture';
import { selectRooms } from './select-rooms';

describe('selectRooms', () => {
  const rooms = [
    aRoom({ id: 'a', status: 'ready', version: 'v1.0.0' }),
    aRoom({ id: 'b', status: 'occupied', version: 'v1.0.0' }),
    aRoom({ id: 'c', status: 'ready', version: 'v2.0.0' }),
    aRoom({ id: 'd', status: 'ready', version: 'v1.0.0' }),
    aRoom({ id: 'e', status: 'ready', version: 'v2.0.0', validation: true }),
  ];
  const all: RoomListing = { status: null, version: null, page: 1, perPage: 10 };

  test.each<[string, Partial<RoomListing>, string, number]>([
    ['all of them fit on a page', {}, 'abcde', 5],
    ['those of a status', { status: 'ready' }, 'acde', 4],
    ['those of a version, validation rooms among them', { version: 'v2.0.0' }, 'ce', 2],
    ['those of both', { status: 'ready', version: 'v1.0.0' }, 'ad', 2],
    ['none has it', { status: 'error' }, '', 0],
    ['the first page is full', { perPage: 2 }, 'ab', 5],
    ['the last page has the rest', { page: 3, perPage: 2 }, 'e', 5],
    ['beyond the last page there is nothing', { page: 4, perPage: 2 }, '', 5],
    ['the largest page number is beyond it too', { page: 2 ** 32 - 1, perPage: 1_000 }, '', 5],
    ['pages are of what the filter leaves', { status: 'ready', page: 2, perPage: 3 }, 'e', 4],
  ])('%s', (_, listing, ids, total) => {
    const page = selectRooms(rooms, { ...all, ...listing });
    expect([page.rooms.map(({ id }) => id).join(''), page.total]).toEqual([ids, total]);
  });
});
