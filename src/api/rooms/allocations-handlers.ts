import { Injectable } from '@nestjs/common';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { RoomAllocationsService } from '../../features/rooms/room-allocations.service';
import type { Allocation } from '../../ports/room-allocation-store';
import type {
  AllocateRequest,
  AllocateResponseSchema,
  AllocationSchema,
  ConfirmAllocationRequest,
  ConfirmAllocationResponseSchema,
  GetAllocationRequest,
  GetAllocationResponseSchema,
  ReleaseAllocationRequest,
  ReleaseAllocationResponseSchema,
} from '../../proto/gen/maestro/v1/allocations_pb';
import type { RpcContext } from '../http/call-rpc';

/** The rpcs of `maestro.v1.AllocationsService`; see `RoomsHandlers`. */
@Injectable()
export class AllocationsHandlers {
  constructor(private readonly allocations: RoomAllocationsService) {}

  async allocate(
    request: AllocateRequest,
    context: RpcContext,
  ): Promise<MessageInitShape<typeof AllocateResponseSchema>> {
    const { schedulerName, idempotencyKey, waitSeconds, strategy, selector } = request;
    const { version = '', labels = {}, metadata = {} } = selector ?? {};
    const { id, expiresAtMs, room, ...given } = await this.allocations.allocate(
      { scheduler: schedulerName, idempotencyKey, waitSeconds, strategy, selector: { version, labels, metadata } },
      context,
    );
    return {
      allocationId: id,
      ...expiry(expiresAtMs),
      roomId: room,
      version: given.version,
      host: given.address.host,
      ports: given.address.ports,
    };
  }

  async getAllocation({
    schedulerName,
    allocationId,
  }: GetAllocationRequest): Promise<MessageInitShape<typeof GetAllocationResponseSchema>> {
    return { allocation: allocationMessage(await this.allocations.getAllocation(schedulerName, allocationId)) };
  }

  async confirmAllocation({
    schedulerName,
    allocationId,
  }: ConfirmAllocationRequest): Promise<MessageInitShape<typeof ConfirmAllocationResponseSchema>> {
    return { allocation: allocationMessage(await this.allocations.confirm(schedulerName, allocationId)) };
  }

  async releaseAllocation({
    schedulerName,
    allocationId,
  }: ReleaseAllocationRequest): Promise<MessageInitShape<typeof ReleaseAllocationResponseSchema>> {
    return { allocation: allocationMessage(await this.allocations.release(schedulerName, allocationId)) };
  }
}

function allocationMessage(allocation: Allocation): MessageInitShape<typeof AllocationSchema> {
  const { id, scheduler, room, version, address, state, allocatedAtMs, expiresAtMs } = allocation;
  return {
    allocationId: id,
    schedulerName: scheduler,
    roomId: room,
    version,
    host: address.host,
    ports: address.ports,
    state,
    allocatedAt: timestampFromMs(allocatedAtMs),
    ...expiry(expiresAtMs),
  };
}

function expiry(expiresAtMs: number | null) {
  return expiresAtMs === null ? {} : { expiresAt: timestampFromMs(expiresAtMs) };
}
