/** Number of partitions. For ever: another number would lose every stored room. */
export const partitionCount = 64;

/** All keys begin with it, so that one Redis can be shared. */
export const keyPrefix = 'maestro:';

/**
 * The partition of a scheduler, 0..63: FNV-1a (32 bits) over its UTF-8 bytes, both halves xored, modulo 64.
 * Fixed for ever, because keys are found by it. The halves are xored because FNV's low bits alone see only the
 * low bits of each letter (http://www.isthe.com/chongo/tech/comp/fnv/#xor-fold).
 */
export function partitionOf(scheduler: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(scheduler, 'utf8')) {
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return ((hash >>> 16) ^ (hash & 0xffff)) % partitionCount;
}

/** `{p07}`: the braces make Redis Cluster keep all keys of a partition in one slot. */
export function partitionTag(partition: number): string {
  return `{p${String(partition).padStart(2, '0')}}`;
}

/** Keys that the schedulers of a partition share. */
export interface PartitionKeys {
  /** Set: names of the partition's schedulers that have a room record. */
  schedulers: string;
  /** String, present: a watcher has marked a full sync since the store was last empty. */
  synced: string;
  /**
   * Stream, bounded: `event` is a change of a room's status, for those who forward it; `match` is a match that begins or ends
   * without one (JSON each).
   */
  events: string;
  /** Sorted set: `<scheduler>/<room>` that pinged and is to be announced anew, score = since when (ms). */
  resyncs: string;
  /** Sorted set: `<allocation>/<scheduler>`, score = when it ends or is forgotten (ms). */
  allocationTimes: string;
}

/** Keys of one scheduler's rooms, and those of its partition. */
export interface SchedulerKeys extends PartitionKeys {
  /** Hash: room id -> record (JSON; statuses as v10's integers, the address as JSON text inside). */
  rooms: string;
  /** Hash: `r<status>`, `i<instance status>`, `m` (running matches) -> how many. Validation rooms are not counted. */
  counts: string;
  /** Sorted set: room id, score = status * 10^13 + since when (ms). Without validation rooms: what may be given out. */
  byStatus: string;
  /** Sorted set: `<status>/<version>/<room id>` of each ready or active room that callers may be sent to, score 0: read by version. */
  free: string;
  /** Hash: room id -> metadata of the last ping, if it had any (JSON). */
  metadata: string;
  /** Sorted set: room id, score 0: the registry, read in id order. */
  ids: string;
  /** Sorted set: id of an ended room, score = when (ms). Forgotten after 24 h, with the key itself. */
  ended: string;
  /** Sorted set: id, version and reason of a room that ended early, score = when (ms). Forgotten after 10 min, with the key itself. */
  earlyEnds: string;
  /** Likewise of a room that failed: the newest 2,000. Forgotten after 1 h, with the key itself. */
  failures: string;
  /** Sorted set: id of a room that ended early before it had an instance, score = when (ms). Forgotten likewise. */
  notCreated: string;
  /** Sorted set: id of a room that had its place before the last early end and lost it since, score = when (ms). Likewise. */
  lost: string;
  /** Hash: room id -> its last transitions, newest first, one JSON a line. */
  transitions: string;
  /** Hash: `a:<allocation>` -> record (JSON), `k:<idempotency key>` -> allocation. */
  allocations: string;
  /** Sorted set: id of a waiting caller's allocation, score = its place (grows). */
  waiting: string;
  /** Hash: id of a waiting caller's allocation -> what it wants (JSON). */
  waiters: string;
  /** Hash: host -> rooms there that have a match or are given out. Validation rooms are not counted. */
  hosts: string;
  /** Hash: id of an ended validation room -> what the runtime said of its end. Goes 24 h after the last of them. */
  endReasons: string;
  /** String: what the last health cycle saw, decided and why (JSON). Goes a day after the last one. */
  healthRecord: string;
}

/** Since when rooms APIs hear pings, for the whole store: hash `sinceMs`, `lastMs`, `maxGapMs`. */
export const hearingKey = `${keyPrefix}${partitionTag(0)}:hearing`;

/**
 * Which rooms hold which ports of their hosts: of all schedulers together, whose ranges may overlap, hence in no partition.
 */
export const hostPortKeys = {
  /** Hash: `<scheduler>/<room>` -> since when (ms), until when although they were refused (ms; 0 = never), pool, `UDP/60001 TCP/...`. */
  holders: `${keyPrefix}{host-ports}:holders`,
  /**
   * String: how many hold each number, four digits each, by protocol and port (`scripts/host-port-prelude.lua`). With `:<pool>` after
   * it: how many of that pool.
   */
  counts: `${keyPrefix}{host-ports}:counts`,
  /** Set: pools that have counts. */
  pools: `${keyPrefix}{host-ports}:pools`,
} as const;

export function partitionKeys(partition: number): PartitionKeys {
  const start = `${keyPrefix}${partitionTag(partition)}:`;
  return {
    schedulers: `${start}schedulers`,
    synced: `${start}synced`,
    events: `${start}events`,
    resyncs: `${start}resyncs`,
    allocationTimes: `${start}allocation-times`,
  };
}

export function allPartitionKeys(): PartitionKeys[] {
  return Array.from({ length: partitionCount }, (_, partition) => partitionKeys(partition));
}

export function schedulerKeys(scheduler: string): SchedulerKeys {
  const partition = partitionOf(scheduler);
  // The last part tells the kind, so a name that holds a colon cannot collide with another scheduler's keys.
  const start = `${keyPrefix}${partitionTag(partition)}:scheduler:${scheduler}:`;
  return {
    ...partitionKeys(partition),
    rooms: `${start}rooms`,
    counts: `${start}counts`,
    byStatus: `${start}by-status`,
    free: `${start}free`,
    metadata: `${start}metadata`,
    transitions: `${start}transitions`,
    allocations: `${start}allocations`,
    waiting: `${start}waiting`,
    waiters: `${start}waiters`,
    hosts: `${start}hosts`,
    ids: `${start}ids`,
    ended: `${start}ended`,
    earlyEnds: `${start}early-ends`,
    failures: `${start}failures`,
    notCreated: `${start}not-created`,
    lost: `${start}lost`,
    endReasons: `${start}end-reasons`,
    healthRecord: `${start}health-record`,
  };
}

/**
 * The keys in the order in which every room script takes them (`scripts/prelude.lua` names them by position). What a ping needs
 * comes first, so that it sends those and not all.
 */
export function scriptKeys(keys: SchedulerKeys): string[] {
  return [
    keys.rooms,
    keys.counts,
    keys.byStatus,
    keys.metadata,
    keys.transitions,
    keys.hosts,
    keys.free,
    keys.allocations,
    keys.waiting,
    keys.events,
    keys.resyncs,
    keys.allocationTimes,
    keys.ids,
    keys.ended,
    keys.earlyEnds,
    keys.endReasons,
    keys.schedulers,
    keys.synced,
    keys.waiters,
    keys.notCreated,
    keys.lost,
    keys.healthRecord,
    keys.failures,
  ];
}

/** Where a process is told of notices: a channel, which no partition owns. */
export function noticeChannel(address: string): string {
  return `${noticeChannelPrefix}${address}`;
}

export const noticeChannelPrefix = `${keyPrefix}notices:`;
