-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler
-- Output: how many counters, and places of rooms that may be given out, differed
-- Atomic because: a room that changes while it is counted would be repaired into an error.

local counts, hosts, free = {}, {}, {}
local function tally(wanted, field, amount)
  if amount ~= 0 then
    wanted[field] = (wanted[field] or 0) + amount
  end
end
for _, text in ipairs(redis.call('HVALS', ROOMS)) do
  local room = cjson.decode(text)
  if not room.validation then
    tally(counts, 'r' .. room.status, 1)
    tally(counts, 'i' .. room.instanceStatus, 1)
    tally(counts, 'm', room.runningMatches)
    local host = usedHost(room)
    if host then
      tally(hosts, host, 1)
    end
    local place = freePlace(room)
    if place then
      free[place] = true
    end
  end
end

-- Makes the hash say what is wanted. How many of its fields did not.
local function repair(key, wanted)
  local repaired = 0
  local stored = redis.call('HGETALL', key)
  local seen = {}
  for place = 1, #stored, 2 do
    local field, amount = stored[place], tonumber(stored[place + 1])
    seen[field] = true
    if amount ~= (wanted[field] or 0) then
      repaired = repaired + 1
    end
  end
  for field in pairs(wanted) do
    if not seen[field] then
      repaired = repaired + 1
    end
  end
  if repaired > 0 then
    redis.call('DEL', key)
    for field, amount in pairs(wanted) do
      redis.call('HSET', key, field, digits(amount))
    end
  end
  return repaired
end

-- A room without its place is never given out; a place without its room is looked at in vain.
local function repairFree()
  local repaired = 0
  for _, place in ipairs(redis.call('ZRANGE', FREE, '0', '-1')) do
    if free[place] then
      free[place] = nil
    else
      redis.call('ZREM', FREE, place)
      repaired = repaired + 1
    end
  end
  for place in pairs(free) do
    redis.call('ZADD', FREE, '0', place)
    repaired = repaired + 1
  end
  return repaired
end

return repair(COUNTS, counts) + repair(HOSTS, hosts) + repairFree()
