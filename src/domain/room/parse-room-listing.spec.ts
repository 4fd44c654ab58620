import { parseRoomListing, type RoomListing, type RoomListingQuery } from './parse-room-listing';

describe('parseRoomListing', () => {
  const all: RoomListing = { status: null, version: null, page: 1, perPage: 100 };
  test.each<[string, RoomListingQuery, RoomListing]>([
    ['all rooms, a hundred a page, by default', {}, all],
    ['an empty status or version is none', { status: '', version: '' }, all],
    ['rooms of one status', { status: 'allocated' }, { ...all, status: 'allocated' }],
    ['rooms of one version', { version: 'v1.2.0' }, { ...all, version: 'v1.2.0' }],
    ['the largest page', { page: 7, perPage: 1_000 }, { ...all, page: 7, perPage: 1_000 }],
    ['the smallest page', { perPage: 1 }, { ...all, perPage: 1 }],
  ])('%s', (_, query, listing) => {
    expect(parseRoomListing(query)).toEqual(listing);
  });

  const statuses = 'pending, unready, ready, occupied, terminating, error, terminated, active, allocated';
  test.each<[string, RoomListingQuery]>([
    [`status must be one of ${statuses}, got "gone"`, { status: 'gone' }],
    [`status must be one of ${statuses}, got "Ready"`, { status: 'Ready' }],
    [`status must be one of ${statuses}, got "constructor"`, { status: 'constructor' }],
    ['page must be at least 1, got 0', { page: 0 }],
    ['perPage must be from 1 to 1000, got 0', { perPage: 0 }],
    ['perPage must be from 1 to 1000, got 1001', { perPage: 1_001 }],
  ])('%s', (message, query) => {
    expect(() => parseRoomListing(query)).toThrow(
      expect.objectContaining({ message, kind: 'invalid_argument', code: 'room.invalid_listing' }),
    );
  });
});
