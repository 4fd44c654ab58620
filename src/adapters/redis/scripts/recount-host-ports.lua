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
-- From one that is not nought to the next: most are.
local found = string.find(counts, '[1-9]')
while found do
  local place = math.floor((found - 1) / COUNT_WIDTH) * COUNT_WIDTH
  if tonumber(string.sub(counts, place + 1, place + COUNT_WIDTH)) ~= (right[place] or 0) then
    repaired = repaired + 1
    setCount(place, right[place] or 0)
  end
  right[place] = nil
  found = string.find(counts, '[1-9]', place + COUNT_WIDTH + 1)
end
for place, count in pairs(right) do
  repaired = repaired + 1
  setCount(place, count)
end
return repaired
