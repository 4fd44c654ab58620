import { Injectable } from '@nestjs/common';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { SchedulersService } from '../../features/schedulers/schedulers.service';
import type {
  CreateSchedulerRequest,
  CreateSchedulerResponseSchema,
  DeleteSchedulerRequest,
  DeleteSchedulerResponseSchema,
  GetSchedulerRequest,
  GetSchedulerResponseSchema,
  GetSchedulerVersionsRequest,
  GetSchedulerVersionsResponseSchema,
  GetSchedulersInfoRequest,
  GetSchedulersInfoResponseSchema,
  ListSchedulersRequest,
  ListSchedulersResponseSchema,
  NewSchedulerVersionRequest,
  NewSchedulerVersionResponseSchema,
  PatchSchedulerRequest,
  PatchSchedulerResponseSchema,
  SwitchActiveVersionRequest,
  SwitchActiveVersionResponseSchema,
} from '../../proto/gen/api/v1/schedulers_pb';
import {
  definitionFromMessage,
  patchFromMessage,
  schedulerInfoMessage,
  schedulerMessage,
  schedulerVersionMessage,
  schedulerWithoutSpecMessage,
} from './scheduler-messages';

/**
 * The rpcs of `api.v1.SchedulersService`, named as there: messages in, messages out, the same for REST and gRPC.
 * They throw `DomainError`; the transport maps its kind by `error-table.ts`.
 */
@Injectable()
export class SchedulersHandlers {
  constructor(private readonly schedulers: SchedulersService) {}

  async listSchedulers(request: ListSchedulersRequest): Promise<MessageInitShape<typeof ListSchedulersResponseSchema>> {
    const { name, game, version } = request;
    const found = await this.schedulers.listSchedulers({
      ...(name === '' ? {} : { name }),
      ...(game === '' ? {} : { game }),
      ...(version === '' ? {} : { version }),
    });
    return { schedulers: found.map(schedulerWithoutSpecMessage) };
  }

  async getScheduler(request: GetSchedulerRequest): Promise<MessageInitShape<typeof GetSchedulerResponseSchema>> {
    const scheduler = await this.schedulers.getScheduler(request.schedulerName, request.version || undefined);
    return { scheduler: schedulerMessage(scheduler) };
  }

  async createScheduler(
    request: CreateSchedulerRequest,
  ): Promise<MessageInitShape<typeof CreateSchedulerResponseSchema>> {
    const scheduler = await this.schedulers.createScheduler(request.name, definitionFromMessage(request));
    return { scheduler: schedulerMessage(scheduler) };
  }

  async getSchedulerVersions(
    request: GetSchedulerVersionsRequest,
  ): Promise<MessageInitShape<typeof GetSchedulerVersionsResponseSchema>> {
    const versions = await this.schedulers.listVersions(request.schedulerName);
    return { versions: versions.map(schedulerVersionMessage) };
  }

  async newSchedulerVersion(
    request: NewSchedulerVersionRequest,
  ): Promise<MessageInitShape<typeof NewSchedulerVersionResponseSchema>> {
    const { operationId } = await this.schedulers.createNewVersion(request.name, definitionFromMessage(request));
    return { operationId };
  }

  async patchScheduler(request: PatchSchedulerRequest): Promise<MessageInitShape<typeof PatchSchedulerResponseSchema>> {
    const { operationId } = await this.schedulers.patchScheduler(request.name, patchFromMessage(request));
    return { operationId };
  }

  async switchActiveVersion(
    request: SwitchActiveVersionRequest,
  ): Promise<MessageInitShape<typeof SwitchActiveVersionResponseSchema>> {
    const { operationId } = await this.schedulers.switchActiveVersion(request.schedulerName, request.version);
    return { operationId };
  }

  async getSchedulersInfo(
    request: GetSchedulersInfoRequest,
  ): Promise<MessageInitShape<typeof GetSchedulersInfoResponseSchema>> {
    const fleets = await this.schedulers.describeFleets(request.game || undefined);
    return { schedulers: fleets.map(({ scheduler, counts }) => schedulerInfoMessage(scheduler, counts)) };
  }

  async deleteScheduler(
    request: DeleteSchedulerRequest,
  ): Promise<MessageInitShape<typeof DeleteSchedulerResponseSchema>> {
    const { operationId } = await this.schedulers.deleteScheduler(request.schedulerName);
    return { operationId };
  }
}
