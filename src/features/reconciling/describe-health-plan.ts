import type { RemovalReason } from '../../domain/operation/operation';
import { asClause, counted } from '../../domain/phrases';
import { lateStarts } from '../../domain/room/classify-room';
import type { HealthFacts, HealthPlan } from '../../domain/room/health-plan';
import type { DrainReason } from '../../domain/room/room';
import type { HealthAction } from '../../ports/health-records';

export interface RoomGroup<Reason> {
  reason: Reason;
  ids: string[];
}

/** Rooms by why it happens to them, in the order in which the reasons come up. */
export function byReason<Reason extends string>(rooms: readonly { id: string; reason: Reason }[]): RoomGroup<Reason>[] {
  const groups = new Map<Reason, string[]>();
  for (const { id, reason } of rooms) groups.set(reason, [...(groups.get(reason) ?? []), id]);
  return [...groups].map(([reason, ids]) => ({ reason, ids }));
}

/** What the runtime says of the last room that did not come up in time; empty when it says nothing, or there is none. */
export function expiredBecause({ rooms }: Pick<HealthFacts, 'rooms'>, { expired }: HealthPlan): string {
  const late = new Set(expired.flatMap(({ id, reason }) => (lateStarts.has(reason) ? [id] : [])));
  const said = rooms.flatMap(({ id, instance }) => (late.has(id) ? [instance.description] : []));
  return said.findLast((description) => description !== '') ?? '';
}

/** `2 rooms expired: ping_timeout, initialization_timeout (Unschedulable: no node has enough free resources: ...)`. */
export function describeExpiry({ expired }: HealthPlan, because: string): string {
  const reasons = [...new Set(expired.map(({ reason }) => reason))];
  const said = because === '' ? '' : ` (${asClause(because)})`;
  return `${counted(expired.length, 'room')} expired: ${reasons.join(', ')}${said}`;
}

/** `2 rooms were drained, and are empty`. */
export function describeDrained({ reason, ids }: RoomGroup<RemovalReason>): string {
  const rooms = counted(ids.length, 'room');
  const [were, are] = ids.length === 1 ? ['was', 'is'] : ['were', 'are'];
  if (reason === 'scale_down') return `${rooms} ${were} too many, and ${are} empty still`;
  if (reason === 'rolling_update_replace') return `${rooms} of replaced versions ${were} drained, and ${are} empty`;
  if (reason === 'drain_deadline') return `${rooms} drained for longer than the scheduler allows, whatever runs there`;
  return `${rooms} ${were} drained, and ${are} empty`;
}

const namesOfDrained: Partial<Record<RemovalReason, string>> = {
  scale_down: 'room',
  rolling_update_replace: 'replaced room',
  drain_deadline: 'overdue room',
};

/** What is removed, in the words of the history: `2 drained rooms`. */
export function nameDrained({ reason, ids }: RoomGroup<RemovalReason>): string {
  return counted(ids.length, namesOfDrained[reason] ?? 'drained room');
}

/** `2 rooms stay after all: they are wanted again, or a match began there`. */
export function describeRelease({ reason, ids }: RoomGroup<DrainReason>): string {
  const [rooms, they, stay] = [
    counted(ids.length, 'room'),
    ...(ids.length === 1 ? ['it is', 'stays'] : ['they are', 'stay']),
  ];
  return reason === 'rollout'
    ? `${rooms} ${stay} after all: the version is active again`
    : `${rooms} ${stay} after all: ${they} wanted again, or a match began there`;
}

/** `2 rooms of replaced versions get no new players`. */
export function describeDrain(ids: readonly string[]): string {
  return `${counted(ids.length, 'room')} of replaced versions ${ids.length === 1 ? 'gets' : 'get'} no new players`;
}

/** `2 rooms are available, 5 are wanted: roomsReplicas = 5`. */
export function describeNumbers({ available, desired, formula, rollout }: HealthPlan): string {
  const [have, want] = [available ?? 0, desired ?? 0];
  const upper = rollout === null ? '' : `; up to ${rollout.upper} while older versions are replaced`;
  return `${counted(have, 'room')} ${have === 1 ? 'is' : 'are'} available, ${want} ${want === 1 ? 'is' : 'are'} wanted: ${formula}${upper}`;
}

/** Everything that the plan is for, in one line. */
export function describePurpose(plan: HealthPlan, because: string): string {
  const { expired, drained, rollback, drainIds, released, claimIds, add } = plan;
  return [
    ...(rollback === null ? [] : [rollback.because]),
    ...(expired.length > 0 ? [describeExpiry(plan, because)] : []),
    ...byReason(drained).map(describeDrained),
    ...byReason(released).map(describeRelease),
    ...(drainIds.length > 0 ? [describeDrain(drainIds)] : []),
    ...(claimIds.length > 0 || add > 0 ? [describeNumbers(plan)] : []),
  ].join('; ');
}

/** What the plan does, as those read it who ask why. */
export function actionsOf(plan: HealthPlan, because: string): HealthAction[] {
  const { expired, drained, rollback, drainIds, released, claimIds, add } = plan;
  const action = (kind: HealthAction['action'], roomIds: string[], reason: string): HealthAction[] =>
    roomIds.length === 0 ? [] : [{ action: kind, amount: roomIds.length, roomIds, reason }];
  return [
    ...(rollback === null
      ? []
      : [
          {
            action: 'rollback' as const,
            amount: 1,
            roomIds: [],
            reason: `to ${rollback.toVersion}: ${rollback.because}`,
          },
        ]),
    ...action(
      'remove',
      expired.map(({ id }) => id),
      expired.length === 0 ? '' : describeExpiry(plan, because),
    ),
    ...byReason(drained).flatMap((group) => action('remove', group.ids, describeDrained(group))),
    ...byReason(released).flatMap((group) => action('release', group.ids, describeRelease(group))),
    ...action('drain', drainIds, describeDrain(drainIds)),
    ...action('scale_down', claimIds, describeNumbers(plan)),
    ...(add === 0 ? [] : [{ action: 'add' as const, amount: add, roomIds: [], reason: describeNumbers(plan) }]),
  ];
}
