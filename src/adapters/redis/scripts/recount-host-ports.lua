-- Input:  KEYS holders, counts
-- Output: how many counts differed, and are right now
-- Atomic because: what is taken or given back while it counts would be counted wrong.

local right = {}
for _, text in ipairs(redis.call('HVALS', HOLDERS)) do
  for number in string.gmatch(string.match(text, '^%d+ %d+ (.*)$') or '', '%S+') do
    right[number] = (right[number] or 0) + 1
  end
end
local repaired = 0
local counts = redis.call('HGETALL', COUNTS)
for place = 1, #counts, 2 do
  local number = counts[place]
  if right[number] ~= tonumber(counts[place + 1]) then
    repaired = repaired + 1
    if right[number] then
      redis.call('HSET', COUNTS, number, digits(right[number]))
    else
      redis.call('HDEL', COUNTS, number)
    end
  end
  right[number] = nil
end
for number, count in pairs(right) do
  repaired = repaired + 1
  redis.call('HSET', COUNTS, number, digits(count))
end
return repaired
