-- Input:  KEYS rooms counts
-- Output: how many counters differed
-- Atomic because: a room that changes while it is counted would be repaired into an error.

local wanted = {}
local function tally(field, amount)
  if amount ~= 0 then
    wanted[field] = (wanted[field] or 0) + amount
  end
end
for _, text in ipairs(redis.call('HVALS', ROOMS)) do
  local room = cjson.decode(text)
  if not room.validation then
    tally('r' .. room.status, 1)
    tally('i' .. room.instanceStatus, 1)
    tally('m', room.runningMatches)
  end
end

local repaired = 0
local stored = redis.call('HGETALL', COUNTS)
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
  redis.call('DEL', COUNTS)
  for field, amount in pairs(wanted) do
    redis.call('HSET', COUNTS, field, digits(amount))
  end
end
return repaired
