-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, id, version, validation (0|1)
-- Output: 'created' | 'exists'
-- Atomic because: two creators of one id must not both succeed, and the record is counted in the same moment.

local id, version, validation = ARGV[2], ARGV[3], ARGV[4] == '1'
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
}, 'created', version)
return 'created'
