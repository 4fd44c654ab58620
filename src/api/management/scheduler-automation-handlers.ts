import { Injectable } from '@nestjs/common';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { AutomationReportsService } from '../../features/reconciling/automation-reports.service';
import { AutomationService } from '../../features/reconciling/automation.service';
import type {
  ExplainSchedulerRequest,
  ExplainSchedulerResponseSchema,
  GetRolloutRequest,
  GetRolloutResponseSchema,
  PauseAutomationRequest,
  PauseAutomationResponseSchema,
  ResumeAutomationRequest,
  ResumeAutomationResponseSchema,
} from '../../proto/gen/maestro/v1/scheduler_automation_pb';
import { automationReportMessage, automationStateMessage, rolloutMessage } from './automation-messages';

/** The rpcs of `maestro.v1.SchedulerAutomationService`; see `SchedulersHandlers`. */
@Injectable()
export class SchedulerAutomationHandlers {
  constructor(
    private readonly reports: AutomationReportsService,
    private readonly automation: AutomationService,
  ) {}

  async explainScheduler({
    schedulerName,
  }: ExplainSchedulerRequest): Promise<MessageInitShape<typeof ExplainSchedulerResponseSchema>> {
    return automationReportMessage(await this.reports.explain(schedulerName));
  }

  async getRollout({ schedulerName }: GetRolloutRequest): Promise<MessageInitShape<typeof GetRolloutResponseSchema>> {
    return rolloutMessage(await this.reports.findRollout(schedulerName));
  }

  async pauseAutomation({
    schedulerName,
    reason,
  }: PauseAutomationRequest): Promise<MessageInitShape<typeof PauseAutomationResponseSchema>> {
    await this.automation.pauseAutomation(schedulerName, { by: 'api', reason });
    return { automation: automationStateMessage(await this.automation.findPause(schedulerName)) };
  }

  async resumeAutomation({
    schedulerName,
  }: ResumeAutomationRequest): Promise<MessageInitShape<typeof ResumeAutomationResponseSchema>> {
    await this.automation.resumeAutomation(schedulerName);
    return { automation: automationStateMessage(await this.automation.findPause(schedulerName)) };
  }
}
