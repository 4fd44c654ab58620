import { DomainError } from '../errors';
import { roomStatuses, type RoomStatus } from './room';

/** What a client may ask for, as it came; absent when it was not given. */
export interface RoomListingQuery {
  status?: string;
  version?: string;
  page?: number;
  perPage?: number;
}

export interface RoomListing {
  /** Null for any. */
  status: RoomStatus | null;
  version: string | null;
  /** From 1. */
  page: number;
  perPage: number;
}

const defaultPerPage = 100;
const largestPage = 1_000;

function refuse(message: string): DomainError {
  return new DomainError('invalid_argument', 'room.invalid_listing', message);
}

/**
 * Reads the query of a listing of rooms. An empty status or version is none, as in the other listings.
 *
 * @throws DomainError `room.invalid_listing` (invalid_argument) that names the field and its rule.
 */
export function parseRoomListing(query: RoomListingQuery): RoomListing {
  const { status = '', version = '', page = 1, perPage = defaultPerPage } = query;
  const known = roomStatuses.find((each) => each === status);
  if (status !== '' && known === undefined) {
    throw refuse(`status must be one of ${roomStatuses.join(', ')}, got ${JSON.stringify(status.slice(0, 60))}`);
  }
  if (page < 1) throw refuse(`page must be at least 1, got ${page}`);
  if (perPage < 1 || perPage > largestPage) throw refuse(`perPage must be from 1 to ${largestPage}, got ${perPage}`);
  return { status: known ?? null, version: version === '' ? null : version, page, perPage };
}
