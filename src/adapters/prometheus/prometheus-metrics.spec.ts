import { Registry } from 'prom-client';
import { roomStatuses, instanceStatuses, type FleetCounts } from '../../domain/room/room';
import type { FleetGauges } from '../../ports/metrics';
import { PrometheusMetrics } from './prometheus-metrics';

const allocationBuckets = '0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60';
const latencyBuckets = '5 10 25 50 100 250 500 1000 2500 5000 10000';

/** Names, types and labels that dashboards and alert rules rely on: `management.md` 7, `rooms.md` 9, and our own. */
const golden = [
  'counter maestro_worker_autoscaling_webhook_calls_total(scheduler, outcome)',
  'counter maestro_worker_health_actions_total(game, scheduler, action)',
  'gauge maestro_worker_automation_paused(game, scheduler)',
  'gauge maestro_loop_last_finished_timestamp_seconds(loop)',
  'counter maestro_api_failed_player_event_forwarding_total(game, scheduler, code)',
  'counter maestro_api_failed_room_event_forwarding_total(game, scheduler, code)',
  'counter maestro_api_ping_handler_update_room_failures_total(scheduler, reason)',
  'counter maestro_api_refused_event_forwarding_total(scheduler, kind, reason)',
  'gauge maestro_api_room_allocation_callers_waiting()',
  'counter maestro_api_room_allocation_changes_total(change)',
  `histogram maestro_api_room_allocation_seconds(scheduler, outcome) [${allocationBuckets}]`,
  'counter maestro_api_room_allocations_total(scheduler, outcome)',
  'counter maestro_api_success_player_event_forwarding_total(game, scheduler, code)',
  'counter maestro_api_success_room_event_forwarding_total(game, scheduler, code)',
  'counter maestro_watcher_drift_repaired_total(kind)',
  'counter maestro_watcher_instance_failures_total(scheduler, reason)',
  'counter maestro_watcher_match_protection_changes_total(change, outcome)',
  'gauge maestro_watcher_match_protection_oldest_seconds()',
  'gauge maestro_watcher_match_protection_rooms_waiting()',
  'counter maestro_watcher_number_of_events_processed_total(scheduler, instanceEventType, success)',
  'counter maestro_worker_add_rooms_operation_execution_failed_total(scheduler, operation)',
  'gauge maestro_worker_current_rooms(game, scheduler)',
  'gauge maestro_worker_desired_rooms(game, scheduler)',
  'gauge maestro_worker_fixed_buffer(game, scheduler)',
  `histogram maestro_worker_grpc_request_latency(service, method, code) [${latencyBuckets}]`,
  'gauge maestro_worker_gru_active(game, scheduler)',
  'gauge maestro_worker_gru_allocated(game, scheduler)',
  'gauge maestro_worker_gru_error(game, scheduler)',
  'gauge maestro_worker_gru_occupied(game, scheduler)',
  'gauge maestro_worker_gru_pending(game, scheduler)',
  'gauge maestro_worker_gru_ready(game, scheduler)',
  'gauge maestro_worker_gru_terminating(game, scheduler)',
  'gauge maestro_worker_gru_unready(game, scheduler)',
  'gauge maestro_worker_instance_error(game, scheduler)',
  'gauge maestro_worker_instance_pending(game, scheduler)',
  'gauge maestro_worker_instance_ready(game, scheduler)',
  'gauge maestro_worker_instance_terminating(game, scheduler)',
  'gauge maestro_worker_instance_unknown(game, scheduler)',
  'gauge maestro_worker_max_matches(game, scheduler)',
  'counter maestro_worker_operation_evicted_total(game, scheduler, operation, reason)',
  `histogram maestro_worker_operation_execution_latency(game, scheduler, operation, success) [${latencyBuckets}]`,
  'counter maestro_worker_operation_execution_worker_failed_total(game, scheduler, reason)',
  `histogram maestro_worker_operation_rollback_latency(game, scheduler, operation, success) [${latencyBuckets}]`,
  'counter maestro_worker_operations_deleted_total(kind)',
  'gauge maestro_worker_ready_target(game, scheduler)',
  'counter maestro_worker_remove_rooms_operation_deletion_failed_total(scheduler, operation)',
  'counter maestro_worker_remove_rooms_operation_deletion_failed_total_total(scheduler, operation)',
  'gauge maestro_worker_rooms_properly_terminated(game, scheduler)',
  'gauge maestro_worker_rooms_to_replace(game, scheduler)',
  'gauge maestro_worker_rooms_with_termination_timeout(game, scheduler)',
  'gauge maestro_worker_running_matches(game, scheduler)',
  'gauge maestro_worker_start_back_off(game, scheduler)',
].sort();

describe('the metrics on Prometheus', () => {
  let registry: Registry;
  let metrics: PrometheusMetrics;

  beforeEach(() => {
    registry = new Registry();
    metrics = new PrometheusMetrics(registry);
  });

  const lines = async (): Promise<string[]> =>
    (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));

  const figures = {
    desired: 4,
    available: 3,
    terminationTimeouts: 2,
    properlyTerminated: 1,
    toReplace: 4,
    paused: 0,
    backsOffForMs: 60_000,
  };
  const run = { scheduler: 'arena', game: 'go', definition: 'add_rooms', success: true, elapsedMs: 12 } as const;

  /** Everything there is to say of a scheduler. */
  const sayAllOf = (scheduler: string): void => {
    metrics.operationExecuted({ ...run, scheduler });
    metrics.operationRolledBack({ ...run, scheduler, success: false });
    metrics.operationEvicted({ ...run, scheduler }, 'no_operation_executor_found');
    metrics.operationWorkerFailed(scheduler, 'go', 'next_operation_failed');
    metrics.roomCreationFailed(scheduler);
    metrics.roomDeletionFailed(scheduler);
    metrics.healthPlanned(scheduler, 'go', figures);
    metrics.healthActed(scheduler, 'go', 'scale_down', 3);
    metrics.webhookAsked(scheduler, 'deadline_exceeded');
    metrics.instanceFailed(scheduler, 'image_pull');
    metrics.pingFailed(scheduler, 'unknown_room');
    metrics.allocationAnswered(scheduler, 'allocated', 7);
    metrics.instanceChangeProcessed(scheduler, 'added', true);
    for (const kind of ['room', 'player'] as const) {
      metrics.eventForwarded({ scheduler, game: 'go', kind, code: 'NotFound', success: true });
      metrics.eventForwarded({ scheduler, game: 'go', kind, code: 'Unavailable', success: false });
      metrics.eventRefused(scheduler, kind, 'unknown_room');
    }
  };

  const gaugesOf = (scheduler: string, changes: Partial<FleetGauges> = {}): FleetGauges => ({
    scheduler,
    game: 'go',
    counts: countsOf(5, 6),
    maxMatches: 3,
    ...changes,
  });

  it('have the names, types and labels that dashboards rely on', async () => {
    sayAllOf('arena');
    metrics.driftRepaired('counter', 1);
    metrics.protectionChanged('protect', 'done');
    metrics.allocationsChanged('expired', 2);
    metrics.allocationCallersWaiting(3);
    metrics.operationsDeleted('healing', 1);
    metrics.forwarderCalled('SendRoomEvent', 'OK', 3);
    metrics.loopFinished('runtime_watcher');
    metrics.fleetsReported([gaugesOf('arena', { readyTarget: 0.5, fixedBuffer: 2 })]);
    const described = registry.getMetricsAsArray().map(({ name, type, ...rest }) => {
      const { labelNames, buckets } = rest as unknown as { labelNames: string[]; buckets?: number[] };
      return `${String(type)} ${name}(${labelNames.join(', ')})${buckets ? ` [${buckets.join(' ')}]` : ''}`;
    });
    expect(described.sort()).toEqual(golden);
    const documented = golden.map((line) => /(maestro_\w+)/.exec(line)![1]);
    const exported = new Set((await lines()).map((line) => line.replace(/(_bucket|_sum|_count)?[{ ].*/, '')));
    expect([...exported].sort()).toEqual([...new Set(documented)].sort());
  });

  it('say what they were told, in milliseconds, and of allocations in seconds', async () => {
    sayAllOf('arena');
    metrics.allocationsChanged('expired', 2);
    metrics.allocationCallersWaiting(3);
    metrics.protectionChanged('protect', 'done');
    metrics.protectionsWaiting(4, 2_500);
    expect(await lines()).toEqual(
      expect.arrayContaining([
        'maestro_worker_operation_execution_latency_sum{game="go",scheduler="arena",operation="add_rooms",success="true"} 12',
        'maestro_worker_operation_execution_latency_bucket{le="10",game="go",scheduler="arena",operation="add_rooms",success="true"} 0',
        'maestro_worker_operation_execution_latency_bucket{le="25",game="go",scheduler="arena",operation="add_rooms",success="true"} 1',
        'maestro_worker_operation_rollback_latency_count{game="go",scheduler="arena",operation="add_rooms",success="false"} 1',
        'maestro_worker_remove_rooms_operation_deletion_failed_total{scheduler="arena",operation="remove_rooms"} 1',
        'maestro_worker_desired_rooms{game="go",scheduler="arena"} 4',
        'maestro_api_room_allocation_seconds_sum{scheduler="arena",outcome="allocated"} 0.007',
        'maestro_api_room_allocation_seconds_bucket{le="0.005",scheduler="arena",outcome="allocated"} 0',
        'maestro_api_room_allocation_seconds_bucket{le="0.01",scheduler="arena",outcome="allocated"} 1',
        'maestro_api_room_allocation_changes_total{change="expired"} 2',
        'maestro_api_room_allocation_callers_waiting 3',
        'maestro_watcher_match_protection_changes_total{change="protect",outcome="done"} 1',
        'maestro_watcher_match_protection_rooms_waiting 4',
        'maestro_watcher_match_protection_oldest_seconds 2.5',
        'maestro_worker_current_rooms{game="go",scheduler="arena"} 3',
        'maestro_worker_rooms_with_termination_timeout{game="go",scheduler="arena"} 2',
        'maestro_worker_rooms_properly_terminated{game="go",scheduler="arena"} 1',
        'maestro_worker_start_back_off{game="go",scheduler="arena"} 1',
        'maestro_worker_rooms_to_replace{game="go",scheduler="arena"} 4',
        'maestro_worker_automation_paused{game="go",scheduler="arena"} 0',
        'maestro_worker_health_actions_total{game="go",scheduler="arena",action="scale_down"} 3',
        'maestro_worker_autoscaling_webhook_calls_total{scheduler="arena",outcome="deadline_exceeded"} 1',
        'maestro_api_ping_handler_update_room_failures_total{scheduler="arena",reason="unknown_room"} 1',
        'maestro_watcher_instance_failures_total{scheduler="arena",reason="image_pull"} 1',
        'maestro_watcher_number_of_events_processed_total{scheduler="arena",instanceEventType="added",success="true"} 1',
        'maestro_api_success_room_event_forwarding_total{game="go",scheduler="arena",code="NotFound"} 1',
        'maestro_api_failed_player_event_forwarding_total{game="go",scheduler="arena",code="Unavailable"} 1',
        'maestro_api_refused_event_forwarding_total{scheduler="arena",kind="room",reason="unknown_room"} 1',
      ]),
    );
  });

  it('never have a scheduler’s name as a label that no scheduler has', async () => {
    metrics.pingFailed(null, 'unknown_scheduler');
    metrics.pingFailed(null, 'store_error');
    metrics.eventRefused('made-up-by-a-caller', 'room', 'unknown_scheduler');
    metrics.allocationAnswered(null, 'unknown_scheduler', 1);
    expect(await lines()).toEqual(
      expect.arrayContaining([
        'maestro_api_ping_handler_update_room_failures_total{scheduler="",reason="unknown_scheduler"} 1',
        'maestro_api_refused_event_forwarding_total{scheduler="",kind="room",reason="unknown_scheduler"} 1',
        'maestro_api_room_allocations_total{scheduler="",outcome="unknown_scheduler"} 1',
      ]),
    );
    expect(await registry.metrics()).not.toContain('made-up-by-a-caller');
  });

  it('replace the series of all fleets by what is reported', async () => {
    metrics.fleetsReported([gaugesOf('one', { readyTarget: 0.5 }), gaugesOf('two', { fixedBuffer: 2 })]);
    expect(await lines()).toEqual(
      expect.arrayContaining([
        'maestro_worker_gru_ready{game="go",scheduler="one"} 5',
        'maestro_worker_instance_ready{game="go",scheduler="two"} 6',
        'maestro_worker_ready_target{game="go",scheduler="one"} 0.5',
        'maestro_worker_fixed_buffer{game="go",scheduler="two"} 2',
      ]),
    );
    metrics.fleetsReported([gaugesOf('two')]);
    const text = (await lines()).join('\n');
    expect(text).toContain('scheduler="two"');
    expect(text).not.toContain('scheduler="one"');
    expect(text).not.toContain('maestro_worker_fixed_buffer{');
    metrics.fleetsReported([]);
    expect((await lines()).join('\n')).not.toContain('scheduler=');
  });

  it('keep nothing of a scheduler that is gone, and everything of the others', async () => {
    sayAllOf('kept');
    const before = await lines();
    sayAllOf('gone');
    expect((await lines()).filter((line) => line.includes('"gone"')).length).toBeGreaterThan(10);
    metrics.schedulerDeleted('gone');
    expect(await lines()).toEqual(before);
  });

  it('say that starts are held until that is over, also when nobody looks again', async () => {
    const held = async () => (await lines()).find((line) => line.startsWith('maestro_worker_start_back_off{'));
    metrics.healthPlanned('arena', 'go', figures);
    expect(await held()).toMatch(/ 1$/);
    jest.spyOn(performance, 'now').mockReturnValue(performance.now() + 60_001);
    try {
      expect(await held()).toMatch(/ 0$/);
    } finally {
      jest.restoreAllMocks();
    }
    metrics.healthPlanned('arena', 'go', { ...figures, backsOffForMs: 0 });
    expect(await held()).toMatch(/ 0$/);
  });

  it('say when a loop last finished a round', async () => {
    const before = Date.now() / 1000;
    metrics.loopFinished('runtime_watcher');
    const [line] = (await lines()).filter((each) => each.includes('loop="runtime_watcher"'));
    expect(Number(line!.split(' ')[1])).toBeGreaterThanOrEqual(before);
  });
});

function countsOf(rooms: number, instances: number): FleetCounts {
  const all = <Word extends string>(words: readonly Word[], count: number) =>
    Object.fromEntries(words.map((word) => [word, count])) as Record<Word, number>;
  return { rooms: all(roomStatuses, rooms), instances: all(instanceStatuses, instances), runningMatches: 9 };
}
