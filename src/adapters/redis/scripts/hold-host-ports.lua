-- Input:  KEYS holders, counts, pools
--         ARGV for each room: holder, pool if none is known of it, its numbers as one text ('' = it uses none); at most 200 rooms
-- Output: how many were known otherwise, or not at all
-- Atomic because: between what a room held and what it holds now nobody may be given either.

local now, changed = nowMs(), 0
for place = 1, #ARGV, 3 do
  local holder, numbers = ARGV[place], ARGV[place + 2]
  local since, refusedUntil, held, knownPool = readHolder(holder)
  local pool = knownPool or ARGV[place + 1]
  if (held or '') ~= numbers then
    changed = changed + 1
    countNumbers(pool, held or '', -1)
    countNumbers(pool, numbers, 1)
    if numbers == '' then
      redis.call('HDEL', HOLDERS, holder)
    else
      writeHolder(holder, since or now, refusedUntil or 0, pool, numbers)
    end
  end
end
return changed
