import { setImmediate } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { webhooksOfPolicy } from '../../domain/autoscaling/webhooks-of-policy';
import { DomainError } from '../../domain/errors';
import { limitsOfScheduler, type RoomLimits } from '../../domain/room/classify-room';
import { Backtest, backtestModel, type BacktestResult } from '../../domain/simulation/backtest';
import type { LoadPoint } from '../../domain/simulation/load-curve';
import type { FleetModel } from '../../domain/simulation/simulated-fleet';

export class BacktestsOptions {
  /** Those of real rooms. */
  readonly limits!: Omit<RoomLimits, 'drainDeadlineMs'>;
  readonly addLimit!: number;
  readonly removeLimit!: number;
  readonly bounds!: BacktestBounds;
}

/** What may be asked for at once. */
export interface BacktestBounds {
  policies: number;
  points: number;
  /** Matches at the highest point of the curve. */
  matches: number;
  /** Looks of one policy, at most: the span of the curve by the interval of looks. */
  looks: number;
  /** Rooms of a fleet. */
  rooms: number;
  /** Rooms that are looked at, in all looks of one policy together: what it costs. 1,000,000 take about a second. */
  roomsLookedAt: number;
}

/** For whoever asks a process that has other work: seconds, and some MiB. */
export const boundsOfRequests: BacktestBounds = {
  policies: 8,
  points: 20_000,
  matches: 5_000,
  looks: 50_000,
  rooms: 5_000,
  roomsLookedAt: 20_000_000,
};

/** For a command that is there for nothing else. */
export const boundsOfCommand: BacktestBounds = {
  policies: 100,
  points: 5_000_000,
  matches: 1_000_000,
  looks: 50_000_000,
  rooms: 200_000,
  roomsLookedAt: Infinity,
};

/** A policy with the name by which its result is told. */
export interface BacktestPolicy {
  name: string;
  scheduler: FleetModel['scheduler'];
}

export interface BacktestRequest {
  policies: readonly BacktestPolicy[];
  load: readonly LoadPoint[];
  /** How long a room takes to come up, a match on average, and at least between two looks at the fleet. Milliseconds. */
  startDelayMs: number;
  matchLengthMs: number;
  lookIntervalMs: number;
  seed: number;
}

export interface BacktestOutcome extends BacktestResult {
  name: string;
  /** Sentences: what the result does not show. */
  notes: string[];
}

/** How long others wait at most, give or take a single event. Milliseconds. */
const sliceMs = 10;
/** A simulation goes in steps of seconds: what is shorter would only cost. Milliseconds. */
const shortestMs = 1_000;

@Injectable()
export class BacktestsService {
  private isRunning = false;

  constructor(private readonly options: BacktestsOptions) {}

  /**
   * Replays the curve under each policy. One request at a time in a process, so that what several ask for takes no more of it
   * than what one does.
   *
   * @throws DomainError `backtest.busy`, `backtest.too_large`, `backtest.empty`, `backtest.time_invalid`, `backtest.canceled` (when the signal says so),
   *   and what `Backtest` throws.
   */
  async run(request: BacktestRequest, signal?: AbortSignal): Promise<BacktestOutcome[]> {
    this.refuseTooLarge(request);
    if (this.isRunning) {
      throw new DomainError(
        'resource_exhausted',
        'backtest.busy',
        'This process computes another backtest; ask again when it is done, or use `maestro backtest`.',
      );
    }
    this.isRunning = true;
    try {
      const outcomes: BacktestOutcome[] = [];
      for (const policy of request.policies) outcomes.push(await this.replay(policy, request, signal));
      return outcomes;
    } finally {
      this.isRunning = false;
    }
  }

  private async replay(
    { name, scheduler }: BacktestPolicy,
    { policies: _, ...request }: BacktestRequest,
    signal: AbortSignal | undefined,
  ): Promise<BacktestOutcome> {
    const { bounds, addLimit, removeLimit } = this.options;
    const limits = limitsOfScheduler(this.options.limits, {
      spec: { terminationGracePeriodNs: 0 },
      ...(scheduler.extensions ? { extensions: scheduler.extensions } : {}),
    });
    const model = backtestModel({
      ...request,
      scheduler,
      limits,
      addLimit,
      removeLimit,
      mostRooms: bounds.rooms,
    });
    const backtest = new Backtest(model);
    let sliceEndsAtMs = performance.now() + sliceMs;
    while (backtest.step()) {
      if (performance.now() < sliceEndsAtMs) continue;
      if (backtest.roomsLookedAt > bounds.roomsLookedAt) {
        const done = Math.floor(backtest.progress * 100);
        throw tooLarge(`it took too much computing with ${name}, of which ${done} % are done`);
      }
      await setImmediate();
      if (signal?.aborted) throw new DomainError('canceled', 'backtest.canceled', 'The backtest was canceled.');
      sliceEndsAtMs = performance.now() + sliceMs;
    }
    return { name, ...backtest.result(), notes: notesOn(scheduler) };
  }

  private refuseTooLarge({ policies, load, ...times }: BacktestRequest): void {
    const { bounds } = this.options;
    const { lookIntervalMs, matchLengthMs, startDelayMs } = times;
    if (!(lookIntervalMs >= shortestMs && matchLengthMs >= shortestMs && startDelayMs >= shortestMs)) {
      throw new DomainError(
        'invalid_argument',
        'backtest.time_invalid',
        'The start delay, the length of a match and the interval of looks must be a second or more.',
      );
    }
    if (policies.length === 0) {
      throw new DomainError('invalid_argument', 'backtest.empty', 'A backtest needs at least one policy.');
    }
    if (policies.length > bounds.policies) {
      throw tooLarge(`it has ${policies.length} policies, and ${bounds.policies} are the most`);
    }
    if (load.length > bounds.points) {
      throw tooLarge(`its load has ${load.length} points, and ${bounds.points} are the most`);
    }
    const most = load.reduce((highest, { matches }) => Math.max(highest, matches), 0);
    if (!(most <= bounds.matches)) {
      throw tooLarge(`its load rises to ${most} matches, and ${bounds.matches} are the most`);
    }
    const looks = Math.ceil(((load.at(-1)?.atMs ?? 0) - (load[0]?.atMs ?? 0)) / lookIntervalMs);
    if (!(looks <= bounds.looks)) {
      throw tooLarge(`it would take ${looks} looks at the fleet, and ${bounds.looks} are the most`);
    }
  }
}

function tooLarge(because: string): DomainError {
  return new DomainError(
    'invalid_argument',
    'backtest.too_large',
    `The backtest is too large: ${because}. Use a shorter curve or a longer interval of looks, or \`maestro backtest\`.`,
  );
}

function notesOn(scheduler: FleetModel['scheduler']): string[] {
  if (webhooksOfPolicy(scheduler).length === 0) return [];
  return [
    'webhooks are not asked: the policy goes by what holds when they do not answer (the next one of its chain, its base, or the replicas)',
  ];
}
