-- Input:  KEYS holders, counts, pools
-- Output: how many counts differed, and are right now; those of pools without holders are gone
-- Atomic because: what is taken or given back while it counts would be counted wrong.

local rightOfAll, rightOfPools = {}, {}
for _, pool in ipairs(redis.call('SMEMBERS', POOLS)) do
  rightOfPools[pool] = {}
end
local held = {}
for _, text in ipairs(redis.call('HVALS', HOLDERS)) do
  local pool, numbers = string.match(text, '^%d+ %d+ (%S*) (.*)$')
  if pool then
    held[pool] = true
    rightOfPools[pool] = rightOfPools[pool] or {}
    for number in string.gmatch(numbers, '%S+') do
      local place = countPlace(string.match(number, '^(.*)/(%d+)$'))
      rightOfAll[place] = (rightOfAll[place] or 0) + 1
      rightOfPools[pool][place] = (rightOfPools[pool][place] or 0) + 1
    end
  end
end

local function repair(key, right)
  local repaired = 0
  local counts = redis.call('GETRANGE', key, 0, -1)
  -- From one that is not nought to the next: most are.
  local found = string.find(counts, '[1-9]')
  while found do
    local place = math.floor((found - 1) / COUNT_WIDTH) * COUNT_WIDTH
    if tonumber(string.sub(counts, place + 1, place + COUNT_WIDTH)) ~= (right[place] or 0) then
      repaired = repaired + 1
      setCount(key, place, right[place] or 0)
    end
    right[place] = nil
    found = string.find(counts, '[1-9]', place + COUNT_WIDTH + 1)
  end
  for place, count in pairs(right) do
    repaired = repaired + 1
    setCount(key, place, count)
  end
  return repaired
end

local repaired = repair(COUNTS, rightOfAll)
for pool, right in pairs(rightOfPools) do
  repaired = repaired + repair(countsOf(pool), right)
  if held[pool] then
    redis.call('SADD', POOLS, pool)
  else
    redis.call('DEL', countsOf(pool))
    redis.call('SREM', POOLS, pool)
  end
end
return repaired
