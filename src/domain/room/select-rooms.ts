import type { RoomListing } from './parse-room-listing';
import type { Room } from './room';

export interface RoomPage {
  rooms: Room[];
  /** Rooms in all pages. */
  total: number;
}

/** The rooms of one page, in the order given. Beyond the last page there are none. */
export function selectRooms(rooms: readonly Room[], { status, version, page, perPage }: RoomListing): RoomPage {
  const matching = rooms.filter(
    (room) => (status === null || room.status === status) && (version === null || room.version === version),
  );
  const start = (page - 1) * perPage;
  return { rooms: matching.slice(start, start + perPage), total: matching.length };
}
