-- Input:  KEYS rooms counts byStatus metadata ids ended earlyEnds endReasons schedulers
--         ARGV id, scheduler, version, validation (0|1)
-- Output: 'created' | 'exists'
-- Atomic because: two creators of one id must not both succeed, and the record is counted in the same moment.

local id, scheduler, version, validation = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local now = nowMs()
if redis.call('HEXISTS', ROOMS, id) == 1 or isEnded(id, now) then
  return 'exists'
end
addRoom({
  id = id,
  version = version,
  validation = validation,
  status = STATUS_PENDING,
  statusSinceMs = now,
  pingStatus = PING_UNKNOWN,
  createdAtMs = now,
  runningMatches = 0,
  instanceStatus = INSTANCE_UNKNOWN,
  description = '',
}, scheduler)
return 'created'
