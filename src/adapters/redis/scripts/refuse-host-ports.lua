-- Input:  KEYS holders, counts, pools
--         ARGV holder, for how long its numbers are kept (ms)
-- Output: whether it holds any (0|1)
-- Atomic because: a release that comes at the same time must see either all of it or nothing.

local since, _, numbers, pool = readHolder(ARGV[1])
if not since then
  return 0
end
writeHolder(ARGV[1], since, nowMs() + tonumber(ARGV[2]), pool, numbers)
return 1
