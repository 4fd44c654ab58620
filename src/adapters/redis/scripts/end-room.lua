-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, id, reason, unasked ('' = nobody ended it; else the reason if nobody here asked for that),
--              may come back (0|1), no fault of its version (0|1)
-- Output: {existed (0|1), validation (0|1), reason, unasked (0|1)}
-- Atomic because: between the record's end and the tombstone a late message could make the room anew.

local id, reason, unasked = ARGV[2], brief(ARGV[3]), brief(ARGV[4])
local mayComeBack, isVersionsFault = ARGV[5] == '1', ARGV[6] ~= '1'
local now = nowMs()
redis.call('ZREMRANGEBYSCORE', ENDED, '-inf', digits(now - TOMBSTONE_MS))
if not mayComeBack then
  redis.call('ZADD', ENDED, 'NX', digits(now), id)
  -- The set goes when its youngest tombstone is too old, so a deleted scheduler's last news leaves nothing for ever.
  redis.call('PEXPIRE', ENDED, digits(TOMBSTONE_MS))
end
local room = loadRoom(id)
if not room then
  return { 0, 0, '', 0 }
end
local isUnasked = unasked ~= '' and (room.unasked or not isLeaving(room))
if isUnasked then
  reason = room.unasked or unasked
end
if reason == '' then
  reason = room.failedBecause or ''
end
-- A failed room was noted when it failed; one that was leaving did neither end early nor fail.
if not isLeaving(room) and room.status ~= STATUS_ERROR then
  noteEarlyEnd(room, room.status, reason, now)
  if isVersionsFault and not isUnasked then
    noteFailure(room, reason, now)
  end
end
if room.host or room.hadPlace then
  noteLost(room, now)
end
if room.validation and reason ~= '' then
  redis.call('HSET', END_REASONS, id, reason)
  redis.call('PEXPIRE', END_REASONS, digits(TOMBSTONE_MS))
end
if room.status ~= STATUS_TERMINATED then
  announce(room, room.status, STATUS_TERMINATED, now, 'instance', reason)
end
removeRoom(room)
return { 1, room.validation and 1 or 0, reason, isUnasked and 1 or 0 }
