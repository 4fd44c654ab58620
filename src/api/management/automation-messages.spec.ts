import { operationDefinitions, versionChanges } from '../../domain/operation/operation';
import type { HealthBlock } from '../../domain/room/health-plan';
import type { RolloutReport } from '../../features/reconciling/compose-rollout-report';
import type { HealthAction } from '../../ports/health-records';
import { comments } from '../../proto/gen/comments';
import { parseFieldComment } from '../openapi/field-comment';

const wordsOf = (field: string): string[] => parseFieldComment(comments[`maestro.v1.${field}`] ?? '').enum ?? [];

/** The compiler sees to it that none is missing. */
const blocks: Record<HealthBlock['code'] | 'not_looked_yet', true> = {
  not_looked_yet: true,
  rebuilding: true,
  paused: true,
  mass_silence: true,
  breaker: true,
  ports: true,
  max: true,
  cooldown: true,
  threshold: true,
  stabilization: true,
  surge: true,
  matches: true,
  ready_buffer: true,
  limit: true,
  rollback: true,
  policy: true,
  no_removable_room: true,
};
const actions: Record<HealthAction['action'], true> = {
  add: true,
  scale_down: true,
  drain: true,
  release: true,
  remove: true,
  rollback: true,
};
const phases: Record<RolloutReport['phase'], true> = {
  none: true,
  preparing: true,
  replacing: true,
  finishing: true,
  unknown: true,
};

describe('the words of the wire', () => {
  test.each([
    ['AutomationBlock.code', Object.keys(blocks)],
    ['AutomationAction.action', Object.keys(actions)],
    ['GetRolloutResponse.phase', Object.keys(phases)],
    ['OpenOperation.definition', [...operationDefinitions]],
    ['FailedVersionChange.definition', [...versionChanges]],
  ])('%s lists those that there are', (field, words) => {
    expect(wordsOf(field).sort()).toEqual(words.sort());
  });

  test.each(Object.keys(blocks))('the meaning of %s is told', (code) => {
    expect(comments['maestro.v1.AutomationBlock.code']).toContain(`\`${code}\``);
  });
});
