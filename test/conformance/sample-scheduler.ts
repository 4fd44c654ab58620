import type { Json, JsonMap } from './conformance-case';

/** A valid scheduler with as little as possible, as a request. */
function plainScheduler(): JsonMap {
  return {
    name: '{scheduler}',
    game: '{game}',
    maxSurge: '10%',
    portRange: { start: 40000, end: 60000 },
    spec: { terminationGracePeriod: '100s', containers: [sampleContainer()] },
  };
}

export function sampleContainer(changes: JsonMap = {}): JsonMap {
  return {
    name: 'room',
    image: 'room:1',
    imagePullPolicy: 'Always',
    requests: { memory: '20Mi', cpu: '10m' },
    limits: { memory: '20Mi', cpu: '10m' },
    ports: [{ name: 'game', protocol: 'udp', port: 7777 }],
    ...changes,
  };
}

export const sampleForwarder: JsonMap = {
  name: 'matchmaker',
  enable: true,
  type: 'gRPC',
  address: 'matchmaker:80',
  options: { timeout: '1500', metadata: {} },
};

/** Off, so that it starts no rooms. */
export const sampleAutoscaling: JsonMap = {
  enabled: false,
  min: 1,
  max: 10,
  cooldown: 60,
  policy: { type: 'roomOccupancy', parameters: { roomOccupancy: { readyTarget: 0.5, downThreshold: 0.9 } } },
};

/** Paths and values, as in `{ 'spec.containers[0].image': 'room:2' }`; undefined takes the field away. */
export type Changes = Record<string, Json | undefined>;

const changesBySample = new WeakMap<object, Changes>();

/** The sample with changes. */
export function sample(changes: Changes = {}): JsonMap {
  const message = plainScheduler();
  for (const [path, value] of Object.entries(changes)) setAt(message, path.split(/[.[\]]+/).filter(Boolean), value);
  changesBySample.set(message, changes);
  return message;
}

/** How a message differs from the sample; undefined for one that is not made from it. */
export function changesOfSample(message: JsonMap): Changes | undefined {
  return changesBySample.get(message);
}

type Place = Record<string, Json>;

function setAt(root: JsonMap, steps: readonly string[], value: Json | undefined): void {
  let place: Place = root;
  steps.slice(0, -1).forEach((step, index) => {
    const isList = /^\d+$/.test(steps[index + 1]!);
    place = (place[step] ??= isList ? [] : {}) as Place;
  });
  const last = steps.at(-1)!;
  if (value === undefined) delete place[last];
  else place[last] = value;
}
