import { instanceStatuses, roomStatuses, type FleetCounts, type Room } from './room';

/** Zero of everything. */
export function emptyFleetCounts(): FleetCounts {
  const zeros = <K extends string>(keys: readonly K[]) =>
    Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>;
  return { rooms: zeros(roomStatuses), instances: zeros(instanceStatuses), runningMatches: 0 };
}

/** What the counters would hold for exactly these rooms. Validation rooms are not counted. */
export function countFleet(rooms: readonly Room[]): FleetCounts {
  const counts = emptyFleetCounts();
  for (const room of rooms) {
    if (room.validation) continue;
    counts.rooms[room.status] += 1;
    counts.instances[room.instance.status] += 1;
    counts.runningMatches += room.runningMatches;
  }
  return counts;
}
