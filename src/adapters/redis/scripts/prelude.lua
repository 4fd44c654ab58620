-- Pasted before the text of every room script (room-scripts.ts), after the constants in capitals that room-scripts.ts
-- makes from src/domain/room: which status a room takes is never decided here, only looked up.
-- Input:  KEYS in the order of scriptKeys (room-keys.ts); a script gets only as many as it uses.
-- Output: local functions.
-- Atomic because: a room's record, its place in the sets and the counters must never disagree, whoever calls.

local ROOMS, COUNTS, BY_STATUS, METADATA = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local IDS, ENDED, EARLY_ENDS, END_REASONS = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local SCHEDULERS, SYNCED = KEYS[9], KEYS[10]

-- Ended rooms are remembered for 24 h (src/ports/room-store.ts).
local TOMBSTONE_MS = 86400000
-- Room for a time in ms until the year 2286; with the highest status still far below 2^53.
local STATUS_SPAN = 10000000000000

local function nowMs()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Whole numbers as text: Lua's own conversion keeps 14 digits.
local function digits(number)
  return string.format('%.0f', number)
end

-- The record, or nil.
local function loadRoom(id)
  local text = redis.call('HGET', ROOMS, id)
  if text then
    return cjson.decode(text)
  end
  return nil
end

local function isEnded(id, now)
  local since = redis.call('ZSCORE', ENDED, id)
  return since and tonumber(since) > now - TOMBSTONE_MS
end

-- A counter that was lost (a partial flush) starts at nought instead of going below it; the recount repairs it.
local function count(field, change)
  if change ~= 0 and redis.call('HINCRBY', COUNTS, field, digits(change)) < 0 then
    redis.call('HSET', COUNTS, field, '0')
  end
end

-- What the sets and counters hold of a room: taken before a change, given to storeRoom after it.
local function countedAs(room)
  return { status = room.status, instanceStatus = room.instanceStatus, runningMatches = room.runningMatches }
end

-- The status that the domain's table gives the room, or nil where it refuses.
-- loads: the load for 0, 1, ... running matches, one digit each; the last one stands for all above.
local function lookUpStatus(room, loads, allocationTtlMs, now)
  local place = math.min(room.runningMatches, #loads - 1) + 1
  local load = tonumber(string.sub(loads, place, place))
  local holds = 0
  if room.allocatedAtMs and now - room.allocatedAtMs <= allocationTtlMs then
    holds = 1
  end
  local row = (room.status * PING_STATUSES + room.pingStatus) * INSTANCE_STATUSES + room.instanceStatus
  local cell = (row * MATCH_LOADS + load) * 2 + holds + 1
  return tonumber(string.sub(STATUS_TABLE, cell, cell))
end

-- The one place where a room changes its status.
local function setStatus(room, status, now)
  if room.status ~= status then
    room.status = status
    room.statusSinceMs = now
    if status ~= STATUS_ALLOCATED then
      room.allocatedAtMs = nil
    end
  end
end

-- Writes a changed record, its place by status and the counters. was: countedAs(room) before the change, nil if new.
local function storeRoom(room, was)
  redis.call('HSET', ROOMS, room.id, cjson.encode(room))
  if room.validation then
    return
  end
  if not was or was.status ~= room.status then
    redis.call('ZADD', BY_STATUS, digits(room.status * STATUS_SPAN + room.statusSinceMs), room.id)
    if was then
      count('r' .. was.status, -1)
    end
    count('r' .. room.status, 1)
  end
  if not was or was.instanceStatus ~= room.instanceStatus then
    if was then
      count('i' .. was.instanceStatus, -1)
    end
    count('i' .. room.instanceStatus, 1)
  end
  count('m', room.runningMatches - (was and was.runningMatches or 0))
end

-- Remembers a room that failed, or ended unasked, soon after its creation, with what the runtime says of it.
local function noteEarlyEnd(room, reason, now)
  if room.validation or now - room.createdAtMs > EARLY_END_AGE_MS then
    return
  end
  redis.call('ZREMRANGEBYSCORE', EARLY_ENDS, '-inf', digits(now - EARLY_END_WINDOW_MS))
  redis.call('ZADD', EARLY_ENDS, digits(now), room.id .. ' ' .. reason)
  redis.call('PEXPIRE', EARLY_ENDS, digits(EARLY_END_WINDOW_MS))
end

-- Writes a new record and registers it.
local function addRoom(room, scheduler)
  redis.call('ZADD', IDS, '0', room.id)
  redis.call('SADD', SCHEDULERS, scheduler)
  storeRoom(room, nil)
end

-- Removes everything of a room; an emptied scheduler leaves no key but its tombstones.
local function removeRoom(room, scheduler)
  redis.call('HDEL', ROOMS, room.id)
  redis.call('HDEL', METADATA, room.id)
  redis.call('ZREM', IDS, room.id)
  redis.call('ZREM', BY_STATUS, room.id)
  if not room.validation then
    count('r' .. room.status, -1)
    count('i' .. room.instanceStatus, -1)
    count('m', -room.runningMatches)
  end
  if redis.call('HLEN', ROOMS) == 0 then
    redis.call('SREM', SCHEDULERS, scheduler)
    redis.call('DEL', COUNTS)
  end
end
