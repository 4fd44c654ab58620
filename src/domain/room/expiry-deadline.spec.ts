import fc from 'fast-check';
import { classifyRoom } from './classify-room';
import { expiryDeadline } from './expiry-deadline';
import { aRoom } from './room.fixture';
import { drainReasons, instanceStatuses, roomStatuses } from './room';

const limits = {
  pingTimeoutMs: 240_000,
  initializationTimeoutMs: 120_000,
  deletionTimeoutMs: 100_000,
  drainConfirmMs: 10_000,
  drainDeadlineMs: null,
};
const nowMs = 1_000_000;
const past = fc.integer({ min: 500_000, max: nowMs });

describe('expiryDeadline', () => {
  test('is the last moment at which classifyRoom lets the room live', () => {
    const rooms = fc
      .record({
        status: fc.constantFrom(...roomStatuses),
        validation: fc.nat(9).map((n) => n === 0),
        runningMatches: fc.constantFrom(0, 0, 1),
        lastPingAtMs: fc.option(past),
        statusSinceMs: past,
        createdAtMs: past,
        adoptedAtMs: fc.option(past),
        drainingSinceMs: fc.option(past),
        drainReason: fc.constantFrom(...drainReasons),
        endAsked: fc.option(fc.record({ times: fc.integer({ min: 1, max: 50 }), lastAtMs: past })),
        instance: fc.constantFrom(...instanceStatuses).map((status) => ({ status })),
      })
      .map(aRoom);
    fc.assert(
      fc.property(rooms, fc.option(past), fc.option(fc.nat(600_000)), (room, hearingSinceMs, drainDeadlineMs) => {
        const facts = { nowMs, hearingSinceMs, limits: { ...limits, drainDeadlineMs } };
        if (classifyRoom(room, facts).class === 'expired') return;
        const deadline = expiryDeadline(room, facts);
        if (deadline === null) {
          expect(classifyRoom(room, { ...facts, nowMs: nowMs * 1_000 }).class).not.toBe('expired');
          return;
        }
        expect(classifyRoom(room, { ...facts, nowMs: deadline.atMs }).class).not.toBe('expired');
        expect(classifyRoom(room, { ...facts, nowMs: deadline.atMs + 1 })).toEqual({
          class: 'expired',
          reason: deadline.reason,
        });
      }),
      { numRuns: 2_000 },
    );
  });
});
