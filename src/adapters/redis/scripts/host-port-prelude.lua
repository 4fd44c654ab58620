-- Pasted before the text of every script of host ports (host-port-scripts.ts).
-- Input:  KEYS holders, counts (room-keys.ts)
-- Output: local functions. A number is text, `UDP/60001`; a holder is `<scheduler>/<room>`.
-- Atomic because: who holds a number and how many hold it must never disagree, and no two may take the last one.

local HOLDERS, COUNTS = KEYS[1], KEYS[2]

local function nowMs()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Whole numbers as text: Lua's own conversion keeps 14 digits.
local function digits(number)
  return string.format('%.0f', number)
end

-- Since when it holds, until when although they were refused (ms; 0 = they were not), and the numbers as one text; nil when it
-- holds nothing.
local function readHolder(holder)
  local text = redis.call('HGET', HOLDERS, holder)
  if not text then
    return nil
  end
  local since, refusedUntil, numbers = string.match(text, '^(%d+) (%d+) (.*)$')
  return tonumber(since), tonumber(refusedUntil), numbers
end

local function countNumbers(numbers, change)
  for number in string.gmatch(numbers, '%S+') do
    -- A count that was lost (a partial flush) does not fall below nought; the recount repairs it.
    if redis.call('HINCRBY', COUNTS, number, change) <= 0 then
      redis.call('HDEL', COUNTS, number)
    end
  end
end

local function writeHolder(holder, since, refusedUntil, numbers)
  redis.call('HSET', HOLDERS, holder, digits(since) .. ' ' .. digits(refusedUntil) .. ' ' .. numbers)
end
