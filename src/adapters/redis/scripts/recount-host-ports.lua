-- Input:  KEYS holders, counts
-- Output: how many counts differed, and are right now
-- Atomic because: what is taken or given back while it counts would be counted wrong.

local right = {}
for _, text in ipairs(redis.call('HVALS', HOLDERS)) do
  for number in string.gmatch(string.match(text, '^%d+ %d+ (.*)$') or '', '%S+') do
    local place = countPlace(string.match(number, '^(.*)/(%d+)$'))
    right[place] = (right[place] or 0) + 1
  end
end
local repaired = 0
local counts = redis.call('GETRANGE', COUNTS, 0, -1)
for place = 0, #counts - 1, COUNT_WIDTH do
  local count = tonumber(string.sub(counts, place + 1, place + COUNT_WIDTH)) or 0
  if count ~= (right[place] or 0) then
    repaired = repaired + 1
    setCount(place, right[place] or 0)
  end
  right[place] = nil
end
for place, count in pairs(right) do
  repaired = repaired + 1
  setCount(place, count)
end
return repaired
