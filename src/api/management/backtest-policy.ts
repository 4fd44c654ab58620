import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { DomainError } from '../../domain/errors';
import { validateScheduler } from '../../domain/scheduler/validate-scheduler';
import type { FleetModel } from '../../domain/simulation/simulated-fleet';
import { SchedulerSchema } from '../../proto/gen/api/v1/scheduler_messages_pb';
import { CreateSchedulerRequestSchema } from '../../proto/gen/api/v1/schedulers_pb';
import { decodeMessage } from '../http/protojson';
import { definitionFromMessage } from './scheduler-messages';

/** What a backtest looks at, of all that a scheduler says. */
const fieldsThatCount = ['autoscaling', 'roomsReplicas', 'matchAllocation', 'maxSurge', 'extensions'];

/** Stands in for what is of no account here, so that the rest can be held to the rules of a scheduler. */
const anyScheduler = {
  name: 'backtest',
  game: 'backtest',
  maxSurge: '25%',
  portRange: { start: 40_000, end: 60_000 },
  spec: {
    terminationGracePeriod: '1s',
    containers: [
      {
        name: 'room',
        image: 'room:1',
        imagePullPolicy: 'Always',
        requests: { memory: '1Mi', cpu: '1m' },
        limits: { memory: '1Mi', cpu: '1m' },
        ports: [{ name: 'game', protocol: 'udp', port: 7777 }],
      },
    ],
  },
} satisfies JsonObject;

/**
 * The policy that JSON states as a scheduler does on the wire: `autoscaling`, `extensions`, `roomsReplicas`, `matchAllocation`,
 * `maxSurge`. A whole scheduler will do, and the rest of it is not looked at.
 *
 * @throws DomainError `request.malformed` for what is none, and `backtest.policy_invalid` with the sentences that a scheduler with
 *   this policy would be refused with, or for a name that no scheduler has: a policy without a word that was meant is another one.
 */
export function readBacktestPolicy(json: JsonValue): FleetModel['scheduler'] {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw invalid('it is no JSON object');
  const known = [CreateSchedulerRequestSchema, SchedulerSchema].flatMap(({ fields }) =>
    fields.flatMap(({ name, jsonName }) => [name, jsonName]),
  );
  const unknown = Object.keys(json).filter((key) => !known.includes(key));
  if (unknown.length > 0) {
    throw invalid(`a scheduler has no field ${unknown.join(', ')}; a policy has ${fieldsThatCount.join(', ')}`);
  }
  const wireNames = new Map(CreateSchedulerRequestSchema.fields.map(({ name, jsonName }) => [name, jsonName]));
  const policy = Object.fromEntries(
    Object.entries(json)
      .map(([key, value]) => [wireNames.get(key) ?? key, value] as const)
      .filter(([key]) => fieldsThatCount.includes(key)),
  );
  if (policy['autoscaling'] === undefined && policy['roomsReplicas'] === undefined) {
    throw invalid('it has neither autoscaling nor roomsReplicas');
  }
  const definition = definitionFromMessage(decodeMessage(CreateSchedulerRequestSchema, { ...anyScheduler, ...policy }));
  const problems = validateScheduler(anyScheduler.name, definition);
  if (problems.length > 0) throw invalid(problems.join('; '));
  const { autoscaling, extensions, roomsReplicas, matchAllocation, maxSurge } = definition;
  return {
    roomsReplicas,
    matchAllocation,
    maxSurge,
    ...(autoscaling ? { autoscaling } : {}),
    ...(extensions ? { extensions } : {}),
  };
}

function invalid(reason: string): DomainError {
  return new DomainError('invalid_argument', 'backtest.policy_invalid', reason);
}
