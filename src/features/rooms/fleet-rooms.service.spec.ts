import { RecordedWakeUps } from '../../../test/support/recorded-wake-ups';
import { aRoom } from '../../domain/room/room.fixture';
import type { Room } from '../../domain/room/room';
import type { OperationStore } from '../../ports/operation-store';
import type { RoomStore } from '../../ports/room-store';
import type { SchedulerStore } from '../../ports/scheduler-store';
import type { UnitOfWork } from '../../ports/unit-of-work';
import type { OperationsService } from '../operations/operations.service';
import { FleetRoomsService } from './fleet-rooms.service';

describe('FleetRoomsService', () => {
  let room: Room | null;
  let drains: 'draining' | 'terminating' | 'unknown_room';
  let drained: string[];
  let wakeUps: RecordedWakeUps;
  let service: FleetRoomsService;

  beforeEach(() => {
    [room, drains, drained, wakeUps] = [aRoom(), 'draining', [], new RecordedWakeUps()];
    const schedulers = {
      getScheduler: async () => ({
        definition: { matchAllocation: { maxMatches: 1 }, spec: { terminationGracePeriodNs: 300e9 } },
      }),
    } as unknown as SchedulerStore;
    const rooms = {
      getRoom: async () => room,
      isSynced: async () => true,
      getTransitions: async () => [],
      getMetadata: async () => null,
      readHearing: async () => ({ nowMs: 1_000_000, hearingSinceMs: 0 }),
      drainRooms: async (_scheduler: string, ids: string[]) => {
        drained.push(...ids);
        return new Map(ids.map((id) => [id, drains]));
      },
    } as unknown as RoomStore;
    const limits = { pingTimeoutMs: 1, initializationTimeoutMs: 1, deletionTimeoutMs: 1, drainConfirmMs: 1 };
    service = new FleetRoomsService(
      schedulers,
      rooms,
      {} as OperationStore,
      {} as OperationsService,
      {} as UnitOfWork,
      wakeUps,
      { limits, adoptionHoldMs: 1 },
    );
  });

  it.each(['draining', 'terminating'] as const)(
    'rings for a successor when a room drains that is %s then',
    async (is) => {
      drains = is;
      await service.drainRoom('fleet', 'room-1');
      expect(drained).toEqual(['room-1']);
      expect(wakeUps.rings).toMatchObject([{ kind: 'health', scheduler: 'fleet' }]);
    },
  );

  it('knows no room that ends while it is to be drained, and rings for nobody', async () => {
    drains = 'unknown_room';
    await expect(service.drainRoom('fleet', 'room-1')).rejects.toMatchObject({ code: 'room.not_found' });
    expect(wakeUps.rings).toEqual([]);
  });

  it('tells when a terminating room is overdue by its scheduler, grace period included', async () => {
    room = aRoom({ status: 'terminating', statusSinceMs: 800_000 });
    const { why } = await service.getRoom('fleet', 'room-1');
    expect(why).toContainEqual(expect.stringContaining('If its instance is still there in 1 min 40 s'));
  });

  it('leaves a validation room as it is', async () => {
    room = aRoom({ validation: true });
    await expect(service.drainRoom('fleet', 'room-1')).rejects.toMatchObject({ code: 'room.is_validation' });
    expect([drained, wakeUps.rings]).toEqual([[], []]);
  });
});
