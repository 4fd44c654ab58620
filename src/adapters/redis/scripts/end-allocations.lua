-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, id, id, ... (at most 500, so that pings wait a few ms at most)
-- Output: how many pending ones ended
-- Atomic because: since it was found due it may have been confirmed, or ended by another process.

local now = nowMs()
local ended = 0
for place = 2, #ARGV do
  local id = ARGV[place]
  local time = redis.call('ZSCORE', ALLOCATION_TIMES, id .. '/' .. SCHEDULER)
  if time and tonumber(time) < now then
    ended = ended + endAllocation(id, now)
  end
end
serveQueue(now)
return ended
