import { noPing, statusSettings } from './fleet-worker';
import type { RedisRoomStoreUnderTest } from './open-redis-room-store';

const batch = 500;

/** So many rooms that are up, of which each has the version that its place gives it; nothing else is left in the store. */
export async function fillFleet(
  redis: RedisRoomStoreUnderTest,
  { scheduler, size, version }: { scheduler: string; size: number; version: (place: number) => string },
): Promise<void> {
  await redis.loseEverything();
  await redis.store.markSynced();
  await redis.store.markHearing(1_000_000);
  for (let start = 0; start < size; start += batch) {
    const places = Array.from({ length: Math.min(batch, size - start) }, (_, index) => start + index);
    await Promise.all(
      places.map(async (place) => {
        const id = `${scheduler}-${String(place).padStart(5, '0')}`;
        const room = { id, scheduler, version: version(place), validation: false };
        await redis.store.createRoom(room);
        const instance = { status: 'ready' as const, description: '', address: null, createdAtMs: 0, generation: 1 };
        const mode = { adopt: false, authoritative: false };
        await redis.store.applyInstance({ ...room, ...instance }, statusSettings, mode);
        await redis.store.applyPing({ ...noPing, scheduler, room: id, status: 'ready' }, statusSettings);
      }),
    );
  }
}
