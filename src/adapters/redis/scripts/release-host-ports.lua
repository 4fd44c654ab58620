-- Input:  KEYS holders, counts, pools
--         ARGV also those that were refused (0|1), holder, ... (at most 200)
-- Output: how many held something that is free now
-- Atomic because: a number is free in the moment in which nobody holds it.

local refusedToo, now, released = ARGV[1] == '1', nowMs(), 0
for place = 2, #ARGV do
  local since, refusedUntil, numbers, pool = readHolder(ARGV[place])
  if since and (refusedToo or refusedUntil <= now) then
    countNumbers(pool, numbers, -1)
    redis.call('HDEL', HOLDERS, ARGV[place])
    released = released + 1
  end
end
return released
