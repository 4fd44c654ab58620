import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { instanceStatuses, roomStatuses } from '../../domain/room/room';
import {
  Metrics,
  type AllocationAnswer,
  type FleetGauges,
  type ForwardedEvent,
  type HealthFigures,
  type OperationRun,
} from '../../ports/metrics';

/** v10's buckets of every `_latency` histogram. Milliseconds. */
const latencyBucketsMs = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000];
/** From one step of the store to the longest wait. */
const allocationBucketsSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const fleetLabels = ['game', 'scheduler'] as const;
const runLabels = ['game', 'scheduler', 'operation', 'success'] as const;

export class PrometheusMetrics extends Metrics {
  private readonly registers: Registry[];

  private readonly executionLatency: Histogram<(typeof runLabels)[number]>;
  private readonly rollbackLatency: Histogram<(typeof runLabels)[number]>;
  private readonly evicted: Counter<string>;
  private readonly workerFailed: Counter<string>;
  private readonly deleted: Counter<string>;
  private readonly addFailed: Counter<string>;
  private readonly removeFailed: Counter<string>;
  private readonly removeFailedOfV10: Counter<string>;
  private readonly pingFailures: Counter<string>;
  private readonly allocations: Counter<string>;
  private readonly allocationSeconds: Histogram<'scheduler' | 'outcome'>;
  private readonly allocationChanges: Counter<string>;
  private readonly allocationCallers: Gauge<string>;
  private readonly forwarded: Record<ForwardedEvent['kind'], { success: Counter<string>; failed: Counter<string> }>;
  private readonly refusedEvents: Counter<string>;
  private readonly forwarderLatency: Histogram<string>;
  private readonly instanceFailures: Counter<string>;
  private readonly instanceEvents: Counter<string>;
  private readonly driftRepairs: Counter<string>;
  private readonly protectionChanges: Counter<string>;
  private readonly protectionsToDo: { count: Gauge<string>; oldestSeconds: Gauge<string> };
  private readonly loopFreshness: Gauge<string>;
  private readonly health: Record<keyof Omit<HealthFigures, 'backsOffForMs'>, Gauge<string>>;
  private readonly healthActions: Counter<string>;
  private readonly webhookAnswers: Counter<string>;
  private readonly backOff: Gauge<(typeof fleetLabels)[number]>;
  /** By scheduler. Each worker looks now and then: what it knows ends by itself, though it may be another that looks again. */
  private readonly backsOffUntil = new Map<string, { game: string; untilMs: number }>();
  private readonly fleet: ReadonlyMap<
    string,
    { gauge: Gauge<string>; read: (fleet: FleetGauges) => number | undefined }
  >;

  constructor(registry: Registry) {
    super();
    this.registers = [registry];
    this.executionLatency = this.latency(
      'maestro_worker_operation_execution_latency',
      'Time an operation took',
      runLabels,
    );
    this.rollbackLatency = this.latency('maestro_worker_operation_rollback_latency', 'Time a rollback took', runLabels);
    this.evicted = this.counter('maestro_worker_operation_evicted_total', 'Operations that no executor took', [
      ...fleetLabels,
      'operation',
      'reason',
    ]);
    this.workerFailed = this.counter(
      'maestro_worker_operation_execution_worker_failed_total',
      'Times a worker could not take or start an operation',
      [...fleetLabels, 'reason'],
    );
    this.deleted = this.counter('maestro_worker_operations_deleted_total', 'Old operations that were deleted', [
      'kind',
    ]);
    this.addFailed = this.counter(
      'maestro_worker_add_rooms_operation_execution_failed_total',
      'Rooms that could not be created',
      ['scheduler', 'operation'],
    );
    this.removeFailed = this.counter(
      'maestro_worker_remove_rooms_operation_deletion_failed_total',
      'Rooms that could not be deleted',
      ['scheduler', 'operation'],
    );
    this.removeFailedOfV10 = this.counter(
      'maestro_worker_remove_rooms_operation_deletion_failed_total_total',
      'The same under the name that Maestro v10 gave it',
      ['scheduler', 'operation'],
    );
    this.pingFailures = this.counter(
      'maestro_api_ping_handler_update_room_failures_total',
      'Pings answered with success false',
      ['scheduler', 'reason'],
    );
    this.allocations = this.counter(
      'maestro_api_room_allocations_total',
      'Answers to callers who wanted a room, with or without one',
      ['scheduler', 'outcome'],
    );
    this.allocationSeconds = new Histogram({
      name: 'maestro_api_room_allocation_seconds',
      help: 'How long callers who wanted a room had to wait for their answer, in seconds',
      labelNames: ['scheduler', 'outcome'],
      buckets: allocationBucketsSeconds,
      registers: this.registers,
    });
    this.allocationChanges = this.counter(
      'maestro_api_room_allocation_changes_total',
      'Allocations that their callers confirmed (before the room reported the match) or released, and those that the clock ended: ' +
        'one that a ping or news of its instance found over is in no count',
      ['change'],
    );
    this.allocationCallers = this.gauge(
      'maestro_api_room_allocation_callers_waiting',
      'Callers of this process who wait for a room',
      [],
    );
    this.forwarded = { room: this.forwardingCounters('room'), player: this.forwardingCounters('player') };
    this.refusedEvents = this.counter(
      'maestro_api_refused_event_forwarding_total',
      'Events that no forwarder was told of, because of what they say or of their room',
      ['scheduler', 'kind', 'reason'],
    );
    this.forwarderLatency = this.latency('maestro_worker_grpc_request_latency', 'Time a call of a forwarder took', [
      'service',
      'method',
      'code',
    ]);
    this.instanceFailures = this.counter(
      'maestro_watcher_instance_failures_total',
      'Instances that failed, once for each reason of an instance',
      ['scheduler', 'reason'],
    );
    this.instanceEvents = this.counter(
      'maestro_watcher_number_of_events_processed_total',
      'Instance changes that the watcher processed',
      ['scheduler', 'instanceEventType', 'success'],
    );
    this.driftRepairs = this.counter(
      'maestro_watcher_drift_repaired_total',
      'Differences between the runtime, the room state and its counters that were repaired',
      ['kind'],
    );
    this.protectionChanges = this.counter(
      'maestro_watcher_match_protection_changes_total',
      'Times the runtime was told which room has a match and may not be moved, or how many have one',
      ['change', 'outcome'],
    );
    this.protectionsToDo = {
      count: this.gauge(
        'maestro_watcher_match_protection_rooms_waiting',
        'Rooms whose protection is to change, and has not yet',
        [],
      ),
      oldestSeconds: this.gauge(
        'maestro_watcher_match_protection_oldest_seconds',
        'How long the first of the rooms with a match that are not protected has waited',
        [],
      ),
    };
    this.loopFreshness = this.gauge(
      'maestro_loop_last_finished_timestamp_seconds',
      'When a loop last finished a round',
      ['loop'],
    );
    this.health = {
      desired: this.gauge('maestro_worker_desired_rooms', 'Rooms there should be', fleetLabels),
      available: this.gauge('maestro_worker_current_rooms', 'Rooms that count as capacity', fleetLabels),
      terminationTimeouts: this.gauge(
        'maestro_worker_rooms_with_termination_timeout',
        'Rooms that take too long to terminate',
        fleetLabels,
      ),
      properlyTerminated: this.gauge(
        'maestro_worker_rooms_properly_terminated',
        'Rooms that said they terminated and still have a record',
        fleetLabels,
      ),
      toReplace: this.gauge(
        'maestro_worker_rooms_to_replace',
        'Rooms of replaced versions that are left, those included that drain until their match ends',
        fleetLabels,
      ),
      paused: this.gauge('maestro_worker_automation_paused', '1 while somebody has paused the automation', fleetLabels),
    };
    this.healthActions = this.counter(
      'maestro_worker_health_actions_total',
      'Rooms that health cycles added, claimed because they were too many, drained, released or removed, and versions that they rolled back',
      [...fleetLabels, 'action'],
    );
    this.webhookAnswers = this.counter(
      'maestro_worker_autoscaling_webhook_calls_total',
      'Times a service was asked how many rooms there should be',
      ['scheduler', 'outcome'],
    );
    this.backOff = this.backOffGauge();
    this.fleet = this.fleetGauges();
  }

  override operationExecuted(run: OperationRun): void {
    this.executionLatency.observe(runLabelValues(run), run.elapsedMs);
  }

  override operationRolledBack(run: OperationRun): void {
    this.rollbackLatency.observe(runLabelValues(run), run.elapsedMs);
  }

  override operationEvicted(run: Omit<OperationRun, 'success' | 'elapsedMs'>, reason: string): void {
    this.evicted.inc({ game: run.game, scheduler: run.scheduler, operation: run.definition, reason });
  }

  override operationWorkerFailed(scheduler: string, game: string, reason: string): void {
    this.workerFailed.inc({ game, scheduler, reason });
  }

  override operationsDeleted(kind: string, count: number): void {
    this.deleted.inc({ kind }, count);
  }

  override roomCreationFailed(scheduler: string): void {
    this.addFailed.inc({ scheduler, operation: 'add_rooms' });
  }

  override roomDeletionFailed(scheduler: string): void {
    for (const counter of [this.removeFailed, this.removeFailedOfV10]) {
      counter.inc({ scheduler, operation: 'remove_rooms' });
    }
  }

  override healthPlanned(scheduler: string, game: string, figures: HealthFigures): void {
    for (const [name, gauge] of Object.entries(this.health)) {
      gauge.set({ game, scheduler }, figures[name as keyof HealthFigures]);
    }
    this.backsOffUntil.set(scheduler, { game, untilMs: performance.now() + figures.backsOffForMs });
  }

  override healthActed(scheduler: string, game: string, action: string, amount: number): void {
    this.healthActions.inc({ game, scheduler, action }, amount);
  }

  override webhookAsked(scheduler: string, outcome: string): void {
    this.webhookAnswers.inc({ scheduler, outcome });
  }

  override pingFailed(scheduler: string | null, reason: string): void {
    // A name that no scheduler has comes from outside: it must not become a label.
    this.pingFailures.inc({ scheduler: scheduler ?? '', reason });
  }

  override allocationAnswered(scheduler: string | null, outcome: AllocationAnswer, elapsedMs: number): void {
    const labels = { scheduler: scheduler ?? '', outcome };
    this.allocations.inc(labels);
    this.allocationSeconds.observe(labels, elapsedMs / 1_000);
  }

  override allocationsChanged(change: string, count: number): void {
    this.allocationChanges.inc({ change }, count);
  }

  override allocationCallersWaiting(count: number): void {
    this.allocationCallers.set(count);
  }

  override eventForwarded({ kind, success, game, scheduler, code }: ForwardedEvent): void {
    this.forwarded[kind][success ? 'success' : 'failed'].inc({ game, scheduler, code });
  }

  override eventRefused(scheduler: string, kind: string, reason: string): void {
    // As for pings: a name that no scheduler has must not become a label.
    this.refusedEvents.inc({ scheduler: reason === 'unknown_scheduler' ? '' : scheduler, kind, reason });
  }

  override forwarderCalled(method: string, code: string, elapsedMs: number): void {
    this.forwarderLatency.observe({ service: 'GRPCForwarder', method, code }, elapsedMs);
  }

  override instanceFailed(scheduler: string, reason: string): void {
    this.instanceFailures.inc({ scheduler, reason });
  }

  override instanceChangeProcessed(scheduler: string, type: string, success: boolean): void {
    this.instanceEvents.inc({ scheduler, instanceEventType: type, success: String(success) });
  }

  override driftRepaired(kind: string, count: number): void {
    this.driftRepairs.inc({ kind }, count);
  }

  override protectionChanged(change: string, outcome: string): void {
    this.protectionChanges.inc({ change, outcome });
  }

  override protectionsWaiting(count: number, oldestMs: number): void {
    this.protectionsToDo.count.set(count);
    this.protectionsToDo.oldestSeconds.set(oldestMs / 1_000);
  }

  override fleetsReported(fleets: FleetGauges[]): void {
    for (const { gauge, read } of this.fleet.values()) {
      gauge.reset();
      for (const fleet of fleets) {
        const value = read(fleet);
        if (value !== undefined) gauge.set({ game: fleet.game, scheduler: fleet.scheduler }, value);
      }
    }
  }

  override loopFinished(loop: string): void {
    this.loopFreshness.set({ loop }, Date.now() / 1000);
  }

  override schedulerDeleted(scheduler: string): void {
    this.backsOffUntil.delete(scheduler);
    for (const metric of [
      this.executionLatency,
      this.rollbackLatency,
      this.evicted,
      this.workerFailed,
      this.addFailed,
      this.removeFailed,
      this.removeFailedOfV10,
      this.pingFailures,
      this.allocations,
      this.allocationSeconds,
      ...Object.values(this.forwarded).flatMap((counters) => Object.values(counters)),
      this.refusedEvents,
      this.healthActions,
      this.webhookAnswers,
      this.instanceFailures,
      this.instanceEvents,
      this.backOff,
      ...Object.values(this.health),
    ]) {
      removeSeries(metric, scheduler);
    }
  }

  private backOffGauge(): Gauge<(typeof fleetLabels)[number]> {
    const until = this.backsOffUntil;
    return new Gauge({
      name: 'maestro_worker_start_back_off',
      help: '1 while rooms that are wanted are held back, or tried again, because others keep failing',
      labelNames: fleetLabels,
      registers: this.registers,
      collect() {
        for (const [scheduler, { game, untilMs }] of until) {
          this.set({ game, scheduler }, performance.now() < untilMs ? 1 : 0);
        }
      },
    });
  }

  private fleetGauges(): PrometheusMetrics['fleet'] {
    const gauges = new Map<string, { gauge: Gauge<string>; read: (fleet: FleetGauges) => number | undefined }>();
    const add = (name: string, help: string, read: (fleet: FleetGauges) => number | undefined): void => {
      gauges.set(name, { gauge: this.gauge(`maestro_worker_${name}`, help, fleetLabels), read });
    };
    for (const status of roomStatuses) {
      // v10 has no gauge for `terminated`.
      if (status !== 'terminated')
        add(`gru_${status}`, `Rooms in status ${status}`, (fleet) => fleet.counts.rooms[status]);
    }
    for (const status of instanceStatuses) {
      add(`instance_${status}`, `Instances in status ${status}`, (fleet) => fleet.counts.instances[status]);
    }
    add('running_matches', 'Matches that run', (fleet) => fleet.counts.runningMatches);
    add('max_matches', 'Matches that a room can hold', (fleet) => fleet.maxMatches);
    add('ready_target', 'readyTarget of the policy', (fleet) => fleet.readyTarget);
    add('fixed_buffer', 'amount of the policy', (fleet) => fleet.fixedBuffer);
    return gauges;
  }

  private forwardingCounters(kind: ForwardedEvent['kind']): { success: Counter<string>; failed: Counter<string> } {
    const labels = [...fleetLabels, 'code'];
    return {
      success: this.counter(
        `maestro_api_success_${kind}_event_forwarding_total`,
        `Events of a ${kind} that a forwarder took`,
        labels,
      ),
      failed: this.counter(
        `maestro_api_failed_${kind}_event_forwarding_total`,
        `Events of a ${kind} that a forwarder did not take`,
        labels,
      ),
    };
  }

  private latency<L extends string>(name: string, help: string, labelNames: readonly L[]): Histogram<L> {
    return new Histogram({
      name,
      help: `${help} (milliseconds)`,
      labelNames,
      buckets: latencyBucketsMs,
      registers: this.registers,
    });
  }

  private counter(name: string, help: string, labelNames: readonly string[]): Counter<string> {
    return new Counter({ name, help, labelNames, registers: this.registers });
  }

  private gauge(name: string, help: string, labelNames: readonly string[]): Gauge<string> {
    return new Gauge({ name, help, labelNames, registers: this.registers });
  }
}

function runLabelValues(run: OperationRun): Record<(typeof runLabels)[number], string> {
  return { game: run.game, scheduler: run.scheduler, operation: run.definition, success: String(run.success) };
}

type Labelled = Counter<string> | Gauge<string> | Histogram<string>;

function removeSeries(metric: Labelled, scheduler: string): void {
  // prom-client keeps the label sets of a metric in `hashMap`; its public `get()` is asynchronous and loses histograms' sets.
  const series = (metric as unknown as { hashMap: Record<string, { labels: Record<string, string> }> }).hashMap;
  for (const { labels } of Object.values(series)) {
    if (labels['scheduler'] === scheduler) metric.remove(labels);
  }
}
