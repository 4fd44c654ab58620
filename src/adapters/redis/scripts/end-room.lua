-- Input:  KEYS rooms counts byStatus metadata ids ended earlyEnds endReasons schedulers
--         ARGV id, scheduler, reason
-- Output: {existed (0|1), validation (0|1)}
-- Atomic because: between the record's end and the tombstone a late message could make the room anew.

local id, scheduler = ARGV[1], ARGV[2]
local now = nowMs()
redis.call('ZREMRANGEBYSCORE', ENDED, '-inf', digits(now - TOMBSTONE_MS))
redis.call('ZADD', ENDED, 'NX', digits(now), id)
-- The set goes when its youngest tombstone is too old, so a deleted scheduler's last news leaves nothing for ever.
redis.call('PEXPIRE', ENDED, digits(TOMBSTONE_MS))
local room = loadRoom(id)
if not room then
  return { 0, 0 }
end
-- A failed room was noted when it failed; one that was leaving did not end early.
if room.status ~= STATUS_TERMINATING and room.status ~= STATUS_TERMINATED and room.status ~= STATUS_ERROR then
  noteEarlyEnd(room, ARGV[3], now)
end
if room.validation and ARGV[3] ~= '' then
  redis.call('HSET', END_REASONS, id, ARGV[3])
  redis.call('PEXPIRE', END_REASONS, digits(TOMBSTONE_MS))
end
removeRoom(room, scheduler)
return { 1, room.validation and 1 or 0 }
