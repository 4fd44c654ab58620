-- Pasted before the text of every script of host ports (host-port-scripts.ts).
-- Input:  KEYS holders, counts, pools (room-keys.ts)
-- Output: local functions. A number is text, `UDP/60001`; a holder is `<scheduler>/<room>`; a pool is text without spaces.
-- Atomic because: who holds a number and how many hold it must never disagree, and no two may take the last one.

local HOLDERS, COUNTS, POOLS = KEYS[1], KEYS[2], KEYS[3]

local function nowMs()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Whole numbers as text: Lua's own conversion keeps 14 digits.
local function digits(number)
  return string.format('%.0f', number)
end

-- Since when it holds, until when although they were refused (ms; 0 = they were not), the numbers as one text, and its pool; nil
-- when it holds nothing.
local function readHolder(holder)
  local text = redis.call('HGET', HOLDERS, holder)
  if not text then
    return nil
  end
  local since, refusedUntil, pool, numbers = string.match(text, '^(%d+) (%d+) (%S*) (.*)$')
  return tonumber(since), tonumber(refusedUntil), numbers, pool
end

-- The counts of one pool's rooms; those of all rooms are in COUNTS. In the same slot, because the tag of its name is the same.
local function countsOf(pool)
  return COUNTS .. ':' .. pool
end

-- Counts are four digits each, side by side by protocol and port: a range of ten thousand is read in no time. What was never
-- written is empty, or zero bytes.
local COUNT_WIDTH, PORTS, MOST_COUNTED = 4, 65536, 9999
local PROTOCOLS = { TCP = 0, UDP = 1, SCTP = 2 }
local OTHER_PROTOCOL = 3

local function countPlace(protocol, port)
  return ((PROTOCOLS[protocol] or OTHER_PROTOCOL) * PORTS + tonumber(port)) * COUNT_WIDTH
end

local function countOf(counts, number)
  local place = countPlace(string.match(number, '^(.*)/(%d+)$'))
  return tonumber(redis.call('GETRANGE', counts, place, place + COUNT_WIDTH - 1)) or 0, place
end

local function setCount(counts, place, count)
  redis.call('SETRANGE', counts, place, string.format('%04d', count))
end

local function countNumbers(pool, numbers, change)
  if numbers ~= '' and change > 0 then
    redis.call('SADD', POOLS, pool)
  end
  for number in string.gmatch(numbers, '%S+') do
    for _, counts in ipairs({ COUNTS, countsOf(pool) }) do
      local count, place = countOf(counts, number)
      -- A count that was lost (a partial flush) does not fall below nought; the recount repairs it.
      setCount(counts, place, math.max(0, math.min(count + change, MOST_COUNTED)))
    end
  end
end

local function writeHolder(holder, since, refusedUntil, pool, numbers)
  redis.call('HSET', HOLDERS, holder, digits(since) .. ' ' .. digits(refusedUntil) .. ' ' .. pool .. ' ' .. numbers)
end
