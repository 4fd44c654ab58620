import { DomainError } from '../errors';
import { parseSchedulerVersion } from '../scheduler/scheduler-version';

export const allocationStrategies = ['packed', 'spread'] as const;
/**
 * Among the rooms that may be given out. `packed`: the fullest room first (multi-match), then one on the host with the most
 * used rooms of this scheduler, so that whole rooms and hosts stay empty and can go. `spread`: the emptiest room first, on the
 * host with the fewest. Ties go to the room that became ready last: it is the least likely to have died unheard.
 */
export type AllocationStrategy = (typeof allocationStrategies)[number];

/** What a caller asks for, as it came. Empty texts and lists ask for nothing special. */
export interface AllocationWish {
  scheduler: string;
  idempotencyKey: string;
  waitSeconds: number;
  strategy: string;
  selector: {
    /** A version, or its beginning up to a dot. */
    version: string;
    /** Of the definition that the room was made from. */
    labels: Readonly<Record<string, string>>;
    /** Of the room's last ping. */
    metadata: Readonly<Record<string, string>>;
  };
}

export interface AllocationRequest {
  scheduler: string;
  /** Null for none. */
  idempotencyKey: string | null;
  waitMs: number;
  strategy: AllocationStrategy;
  selector: AllocationWish['selector'];
  /** The same text for requests that want the same, however they say it. */
  fingerprint: string;
}

export const longestWaitSeconds = 60;
const longestIdempotencyKey = 255;
const mostSelectorEntries = 32;
/** A name and its value together, in UTF-8. Bytes. */
const largestSelectorEntry = 1024;

/** @throws DomainError `allocation.invalid_request` (invalid_argument) that names the field and its rule. */
export function parseAllocationRequest(wish: AllocationWish): AllocationRequest {
  const { scheduler, idempotencyKey, waitSeconds, selector } = wish;
  if (waitSeconds < 0 || waitSeconds > longestWaitSeconds) {
    throw invalid('waitSeconds', `must be from 0 to ${longestWaitSeconds}, got ${waitSeconds}`);
  }
  const keyLength = [...idempotencyKey].length;
  if (keyLength > longestIdempotencyKey) {
    throw invalid('idempotencyKey', `must be at most ${longestIdempotencyKey} characters, got ${keyLength}`);
  }
  if (selector.version !== '' && parseSchedulerVersion(selector.version) === null) {
    const version = JSON.stringify(selector.version.slice(0, 64));
    throw invalid('selector.version', `must be a version such as v2.1.0, or its beginning such as v2, got ${version}`);
  }
  assertSmall('selector.labels', selector.labels);
  assertSmall('selector.metadata', selector.metadata);
  const strategy = parseStrategy(wish.strategy);
  return {
    scheduler,
    idempotencyKey: idempotencyKey === '' ? null : idempotencyKey,
    waitMs: waitSeconds * 1_000,
    strategy,
    selector,
    fingerprint: fingerprintOf(selector, strategy),
  };
}

/** In a canonical order, so that the same labels are the same text. */
export function canonicalEntries(map: Readonly<Record<string, string>>): [name: string, value: string][] {
  return Object.entries(map).sort(([one], [other]) => (one < other ? -1 : 1));
}

function parseStrategy(text: string): AllocationStrategy {
  if (text === '') return 'packed';
  const strategy = allocationStrategies.find((each) => each === text);
  if (strategy !== undefined) return strategy;
  const shown = JSON.stringify(text.slice(0, 64));
  throw invalid('strategy', `must be one of ${allocationStrategies.join(', ')}, got ${shown}`);
}

function assertSmall(field: string, map: Readonly<Record<string, string>>): void {
  const entries = Object.entries(map);
  if (entries.length > mostSelectorEntries) {
    throw invalid(field, `must have at most ${mostSelectorEntries} entries, got ${entries.length}`);
  }
  for (const [name, value] of entries) {
    const size = Buffer.byteLength(name) + Buffer.byteLength(value);
    if (size <= largestSelectorEntry) continue;
    const which = JSON.stringify(name.slice(0, 64));
    throw invalid(
      field,
      `must have entries of at most ${largestSelectorEntry} bytes, name and value together, got ${size} in ${which}`,
    );
  }
}

function fingerprintOf(
  { version, labels, metadata }: AllocationWish['selector'],
  strategy: AllocationStrategy,
): string {
  const selected = [version.replace(/^v/, ''), canonicalEntries(labels), canonicalEntries(metadata)];
  return JSON.stringify([strategy, ...selected]);
}

function invalid(field: string, rule: string): DomainError {
  return new DomainError('invalid_argument', 'allocation.invalid_request', `${field} ${rule}`, { details: { field } });
}
