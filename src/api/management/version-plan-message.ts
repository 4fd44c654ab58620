import { fromJson } from '@bufbuild/protobuf';
import type { JsonValue, MessageInitShape } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import type { VersionPlan } from '../../domain/scheduler/plan-version-change';
import type { PlanVersionResponseSchema } from '../../proto/gen/maestro/v1/scheduler_plans_pb';

/** A plan as it is told. */
export function versionPlanMessage(plan: VersionPlan): MessageInitShape<typeof PlanVersionResponseSchema> {
  return {
    problems: plan.problems,
    changes: plan.changes.map(({ path, from, to, major }) => ({
      path,
      from: valueMessage(from),
      to: valueMessage(to),
      major,
    })),
    bump: plan.bump,
    version: plan.version,
    rooms: { ...plan.rooms },
    roomsWithMatches: plan.roomsWithMatches,
    roomsToReplace: plan.roomsToReplace,
    steps: plan.steps,
    blockedBy: plan.blockedBy,
  };
}

/** Values of a plan are JSON: they are those of the wire. */
function valueMessage(value: unknown) {
  return fromJson(ValueSchema, value as JsonValue);
}
