-- Input:  KEYS holders, counts
--         ARGV for each room: holder, its numbers as one text ('' = it uses none); at most 200 rooms
-- Output: how many were known otherwise, or not at all
-- Atomic because: between what a room held and what it holds now nobody may be given either.

local now, changed = nowMs(), 0
for place = 1, #ARGV, 2 do
  local holder, numbers = ARGV[place], ARGV[place + 1]
  local since, refusedUntil, held = readHolder(holder)
  if (held or '') ~= numbers then
    changed = changed + 1
    countNumbers(held or '', -1)
    countNumbers(numbers, 1)
    if numbers == '' then
      redis.call('HDEL', HOLDERS, holder)
    else
      writeHolder(holder, since or now, refusedUntil or 0, numbers)
    end
  end
end
return changed
