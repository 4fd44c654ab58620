import { Injectable } from '@nestjs/common';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { SchedulerPlansService } from '../../features/schedulers/scheduler-plans.service';
import type { PlanVersionRequest, PlanVersionResponseSchema } from '../../proto/gen/maestro/v1/scheduler_plans_pb';
import { malformedField } from '../http/protojson';
import { definitionFromMessage, patchFromMessage } from './scheduler-messages';
import { versionPlanMessage } from './version-plan-message';

/** The rpcs of `maestro.v1.SchedulerPlansService`; see `SchedulersHandlers`. */
@Injectable()
export class SchedulerPlansHandlers {
  constructor(private readonly plans: SchedulerPlansService) {}

  async planVersion({ change }: PlanVersionRequest): Promise<MessageInitShape<typeof PlanVersionResponseSchema>> {
    switch (change.case) {
      case 'patch':
        return versionPlanMessage(await this.plans.planPatch(change.value.name, patchFromMessage(change.value)));
      case 'version':
        return versionPlanMessage(
          await this.plans.planNewVersion(change.value.name, definitionFromMessage(change.value)),
        );
      case undefined:
        // Not over REST, where the query always chooses one.
        throw malformedField('', 'give a patch or a version');
    }
  }
}
