import { printDuration } from '../print-duration';
import type { Room } from './room';

/** Why a room that did not come up in its time did not, for people: what the runtime says of it, else what it did not do itself. */
export function describeLateStart(
  { instance, lastPingAtMs, pingStatus }: Pick<Room, 'instance' | 'lastPingAtMs' | 'pingStatus'>,
  initializationTimeoutMs: number,
): string {
  if (instance.description !== '') return instance.description;
  const within = `within ${printDuration(initializationTimeoutMs)}`;
  if (lastPingAtMs === null) return `it did not ping ${within}`;
  return `it did not come up ${within}, and said ${pingStatus} last`;
}
