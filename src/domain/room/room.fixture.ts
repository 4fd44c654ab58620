import type { Room } from './room';

/** A ready, idle room of `v1.0.0` that pinged at 1,000,000 ms (the tests' "now"), with what a test wants different. */
export function aRoom({
  instance,
  ...room
}: Partial<Omit<Room, 'instance'>> & { instance?: Partial<Room['instance']> } = {}): Room {
  return {
    id: 'room-1',
    scheduler: 'fleet',
    version: 'v1.0.0',
    validation: false,
    status: 'ready',
    statusSinceMs: 0,
    pingStatus: 'ready',
    lastPingAtMs: 1_000_000,
    createdAtMs: 0,
    adoptedAtMs: null,
    runningMatches: 0,
    allocations: [],
    drainingSinceMs: null,
    drainReason: (room.drainingSinceMs ?? null) === null ? null : 'operator',
    endAsked: null,
    startPutOff: null,
    ...room,
    instance: { status: 'ready', description: '', address: null, restarts: null, ...instance },
  };
}
