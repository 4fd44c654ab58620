import { MemoryRoomStore } from '../../../test/support/memory-room-store';
import { RecordedLog } from '../../../test/support/recorded-log';
import { RecordedWakeUps } from '../../../test/support/recorded-wake-ups';
import type { Metrics } from '../../ports/metrics';
import type { SchedulerSettingsCache } from '../schedulers/scheduler-settings';
import { RoomPingsService } from './room-pings.service';

const settings = { name: 'arena', game: 'arena', maxMatches: 1 };
const statusSettings = { maxMatches: 1, allocationTtlMs: 300_000 };

describe('a ping that changes the status of a room', () => {
  let rooms: MemoryRoomStore;
  let wakeUps: RecordedWakeUps;
  let pings: RoomPingsService;

  beforeEach(() => {
    rooms = new MemoryRoomStore();
    wakeUps = new RecordedWakeUps();
    const known = { find: async () => settings } as unknown as SchedulerSettingsCache;
    // Every ping of these tests is taken: nothing is counted.
    const metrics = {} as Metrics;
    pings = new RoomPingsService(known, rooms, wakeUps, metrics, new RecordedLog(), statusSettings);
  });

  async function startRoom(validation: boolean): Promise<void> {
    const room = { id: 'room-1', scheduler: 'arena', version: 'v1.0.0', validation };
    await rooms.createRoom(room);
    await rooms.applyInstance(
      { ...room, status: 'ready', description: '', address: null, createdAtMs: 0, generation: 1 },
      statusSettings,
      { adopt: false, authoritative: false },
    );
  }

  async function ping(status: string): Promise<unknown[]> {
    wakeUps.rings.length = 0;
    const said = { scheduler: 'arena', room: 'room-1', status, runningMatches: 0, metadata: null };
    expect(await pings.handlePing(said)).toEqual({ success: true });
    return wakeUps.rings.map(({ kind, scheduler }) => `${kind} ${scheduler}`);
  }

  it('rings where the room leaves, so that it is replaced', async () => {
    await startRoom(false);
    expect(await ping('ready')).toEqual([]);
    expect(await ping('occupied')).toEqual([]);
    expect(await ping('terminating')).toEqual(['health arena']);
  });

  it.each(['ready', 'occupied', 'terminating', 'terminated'])(
    'rings for the operation that waits for a validation room, when it says %s for the first time',
    async (status) => {
      await startRoom(true);
      expect(await ping(status)).toEqual(['operations arena']);
      expect(await ping(status)).toEqual([]);
    },
  );
});
