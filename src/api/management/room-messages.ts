import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { InstanceRestarts, Room } from '../../domain/room/room';
import type { RoomReport } from '../../features/rooms/fleet-rooms.service';
import type {
  GetRoomResponseSchema,
  RoomRestartsSchema,
  RoomSchema,
} from '../../proto/gen/maestro/v1/scheduler_rooms_pb';

export function roomMessage(room: Room): MessageInitShape<typeof RoomSchema> {
  const { address } = room.instance;
  return {
    id: room.id,
    schedulerName: room.scheduler,
    version: room.version,
    status: room.status,
    statusSince: timestampFromMs(room.statusSinceMs),
    pingStatus: room.pingStatus,
    instanceStatus: room.instance.status,
    ...(room.lastPingAtMs === null ? {} : { lastPingAt: timestampFromMs(room.lastPingAtMs) }),
    createdAt: timestampFromMs(room.createdAtMs),
    runningMatches: room.runningMatches,
    openAllocations: room.allocations.length,
    validation: room.validation,
    draining: room.drainingSinceMs !== null,
    host: address?.host ?? '',
    ports: address?.ports ?? [],
  };
}

export function roomReportMessage(report: RoomReport): MessageInitShape<typeof GetRoomResponseSchema> {
  const { room, why, transitions, metadata } = report;
  return {
    room: roomMessage(room),
    why,
    instanceDescription: room.instance.description,
    ...(metadata === null ? {} : { metadata: metadata as JsonObject }),
    ...(room.adoptedAtMs === null ? {} : { adoptedAt: timestampFromMs(room.adoptedAtMs) }),
    ...(room.drainingSinceMs === null ? {} : { drainingSince: timestampFromMs(room.drainingSinceMs) }),
    allocations: room.allocations.map(({ id, allocatedAtMs, expiresAtMs }) => ({
      allocationId: id,
      allocatedAt: timestampFromMs(allocatedAtMs),
      ...(expiresAtMs === null ? {} : { expiresAt: timestampFromMs(expiresAtMs) }),
    })),
    transitions: transitions.map(({ atMs, from, to, cause, detail }) => ({
      at: timestampFromMs(atMs),
      from: from ?? '',
      to,
      cause,
      detail,
    })),
    ...(room.instance.restarts === null ? {} : { restarts: restartsMessage(room.instance.restarts) }),
    ...(room.endAsked === null
      ? {}
      : { endRequests: { count: room.endAsked.times, lastAt: timestampFromMs(room.endAsked.lastAtMs) } }),
  };
}

function restartsMessage({ count, lastEnd }: InstanceRestarts): MessageInitShape<typeof RoomRestartsSchema> {
  if (lastEnd === null) return { count };
  const { container, exitCode, reason, atMs } = lastEnd;
  return { count, container, exitCode, reason, ...(atMs === null ? {} : { endedAt: timestampFromMs(atMs) }) };
}
