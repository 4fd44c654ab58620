import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { DomainError } from '../../domain/errors';
import type { LoadPoint } from '../../domain/simulation/load-curve';
import type { BacktestOutcome, BacktestPolicy, BacktestRequest } from '../../features/backtesting/backtests.service';
import type { BacktestResultSchema, RunBacktestRequest } from '../../proto/gen/maestro/v1/backtests_pb';
import { malformedField } from '../http/protojson';
import { readBacktestPolicy } from './backtest-policy';

/** Those of `maestro backtest`. */
const defaults = { startDelaySeconds: 60, matchLengthSeconds: 1200, lookIntervalSeconds: 30, seed: 1 };

const longestName = 100;
/** Of what is said in seconds: a simulation goes in steps of them. */
const fewestSeconds = 1;

/**
 * @throws DomainError `request.malformed`, `backtest.policy_invalid` that name the field by its path. What is too much, or too
 *   short, is for the backtests themselves to say.
 */
export function backtestRequestOf(request: RunBacktestRequest): BacktestRequest {
  const {
    startDelaySeconds = defaults.startDelaySeconds,
    matchLengthSeconds = defaults.matchLengthSeconds,
    lookIntervalSeconds = defaults.lookIntervalSeconds,
    seed = defaults.seed,
  } = request;
  for (const [field, seconds] of Object.entries({ startDelaySeconds, matchLengthSeconds, lookIntervalSeconds })) {
    if (seconds < fewestSeconds) throw malformedField(field, `must be ${fewestSeconds} or greater, and is ${seconds}`);
  }
  return {
    policies: policiesOf(request.policies),
    load: loadOf(request.load),
    startDelayMs: startDelaySeconds * 1000,
    matchLengthMs: matchLengthSeconds * 1000,
    lookIntervalMs: lookIntervalSeconds * 1000,
    seed,
  };
}

export function backtestResultMessage(outcome: BacktestOutcome): MessageInitShape<typeof BacktestResultSchema> {
  const { name, served, asked, refused, roomHours, idleRoomHours, started, removed, peakRooms, lostMatches } = outcome;
  return {
    name,
    served,
    matches: asked,
    foundNoRoom: refused,
    roomHours,
    idleRoomHours,
    roomsStarted: started,
    roomsRemoved: removed,
    peakRooms,
    lostMatches,
    notes: outcome.notes,
    timeline: outcome.timeline.map(({ atMs, wanted, running, rooms, refused: foundNoRoom }) => ({
      time: timestampFromMs(Math.round(atMs)),
      wanted,
      running,
      rooms,
      foundNoRoom,
    })),
  };
}

function policiesOf(policies: RunBacktestRequest['policies']): BacktestPolicy[] {
  const names = new Set<string>();
  return policies.map(({ name, scheduler }, index) => {
    const path = `policies[${index}]`;
    if (name === '' || name.length > longestName) {
      throw malformedField(`${path}.name`, `must have 1 to ${longestName} characters`);
    }
    if (names.has(name)) throw malformedField(`${path}.name`, `another policy is called ${JSON.stringify(name)} too`);
    names.add(name);
    if (scheduler === undefined) throw malformedField(`${path}.scheduler`, 'is required');
    try {
      return { name, scheduler: readBacktestPolicy(scheduler) };
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      const field = `${path}.scheduler`;
      throw new DomainError(error.kind, error.code, `${field}: ${error.message}`, { cause: error, details: { field } });
    }
  });
}

function loadOf(points: RunBacktestRequest['load']): LoadPoint[] {
  const load: LoadPoint[] = [];
  points.forEach(({ time, matches }, index) => {
    const path = `load[${index}]`;
    if (time === undefined) throw malformedField(`${path}.time`, 'is required');
    if (!(Number.isFinite(matches) && matches >= 0)) {
      throw malformedField(`${path}.matches`, 'must be a number of at least 0');
    }
    const atMs = timestampMs(time);
    const before = load.at(-1);
    if (before !== undefined && atMs <= before.atMs) {
      throw malformedField(`${path}.time`, 'must be later than the time of the point before');
    }
    load.push({ atMs, matches });
  });
  if (load.length < 2) throw malformedField('load', `must have at least 2 points, and has ${load.length}`);
  return load;
}
