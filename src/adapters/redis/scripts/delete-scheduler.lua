-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler
-- Output: 'OK'
-- Atomic because: half a scheduler would count rooms that it does not have.

-- In the partition's sets: allocations and resyncs go by themselves when their time comes and nothing is found.
redis.call(
  'UNLINK', ROOMS, COUNTS, BY_STATUS, METADATA, TRANSITIONS, HOSTS, FREE, ALLOCATIONS, WAITING, IDS, ENDED, EARLY_ENDS, END_REASONS,
  WAITERS, NOT_CREATED, LOST, HEALTH_RECORD, FAILURES
)
redis.call('SREM', SCHEDULERS, SCHEDULER)
return 'OK'
