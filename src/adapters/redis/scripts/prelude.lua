-- Pasted before the text of every room script (room-scripts.ts), after the constants in capitals that room-scripts.ts
-- makes from src/domain/room: which status a room takes is never decided here, only looked up.
-- Input:  KEYS in the order of scriptKeys (room-keys.ts); a script gets only as many as it uses.
-- Output: local functions.
-- Atomic because: a room's record, its place in the sets and the counters must never disagree, whoever calls.

local ROOMS, COUNTS, BY_STATUS, METADATA, TRANSITIONS, HOSTS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local FREE, ALLOCATIONS, WAITING, EVENTS, RESYNCS, ALLOCATION_TIMES = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local IDS, ENDED, EARLY_ENDS, END_REASONS = KEYS[13], KEYS[14], KEYS[15], KEYS[16]
local SCHEDULERS, SYNCED, WAITERS, NOT_CREATED, LOST = KEYS[17], KEYS[18], KEYS[19], KEYS[20], KEYS[21]
local HEALTH_RECORD, FAILURES = KEYS[22], KEYS[23]
-- Every room script is told the scheduler first.
local SCHEDULER = ARGV[1]

-- Ended rooms are remembered for 24 h (src/ports/room-store.ts).
local TOMBSTONE_MS = 86400000
local TRANSITIONS_KEPT = 10
-- Room for a time in ms until the year 2286; with the highest status still far below 2^53.
local STATUS_SPAN = 10000000000000

local function nowMs()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- What a runtime says has no length of its own: the first KiB, whole characters.
local TEXT_KEPT = 1024
local function brief(text)
  if #text <= TEXT_KEPT then
    return text
  end
  local last = TEXT_KEPT
  -- A byte 10xxxxxx goes on with the character before it.
  while last > 0 and math.floor(string.byte(text, last + 1) / 64) == 2 do
    last = last - 1
  end
  return string.sub(text, 1, last)
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

-- A host is forgotten with its last used room.
local function countHost(was, is)
  if was == is then
    return
  end
  if was and redis.call('HINCRBY', HOSTS, was, '-1') <= 0 then
    redis.call('HDEL', HOSTS, was)
  end
  if is then
    redis.call('HINCRBY', HOSTS, is, '1')
  end
end

-- Slots that are given to callers, and that the room has not reported yet.
local function openAllocations(room)
  return room.allocations and #room.allocations or 0
end

-- What the room says of its slots: a room for one match counts by its word, whatever number it sends along (rooms.md 2.3).
local function reportedMatches(room, maxMatches)
  return maxMatches == 1 and 0 or room.runningMatches
end

local function hasMatch(room)
  local used = (room.runningMatches > 0 or openAllocations(room) > 0) and 1 or 0
  local cell = room.status * 2 + used + 1
  return string.sub(HAS_MATCH, cell, cell) == '1'
end

-- Whether it goes, or said that it is over.
local function isLeaving(room)
  return room.status == STATUS_TERMINATING or room.status == STATUS_TERMINATED
end

-- The host that counts this room as used, or nil.
local function usedHost(room)
  return not room.validation and hasMatch(room) and room.host or nil
end

-- The room's place among those that callers may be sent to, or nil: by status and version, because callers ask by them.
local function freePlace(room)
  local isFree = (room.status == STATUS_READY or room.status == STATUS_ACTIVE) and not room.validation and not room.drainingSinceMs
  return isFree and room.status .. '/' .. room.version .. '/' .. room.id or nil
end

-- What the sets and counters hold of a room: taken before a change, given to storeRoom after it.
local function countedAs(room)
  return {
    status = room.status,
    statusSinceMs = room.statusSinceMs,
    instanceStatus = room.instanceStatus,
    runningMatches = room.runningMatches,
    openAllocations = openAllocations(room),
    hasMatch = hasMatch(room),
    usedHost = usedHost(room),
    freePlace = freePlace(room),
  }
end

-- The status that the domain's table gives the room, or nil where it refuses.
-- loads: the load for 0, 1, ... running matches, one digit each; the last one stands for all above.
local function lookUpStatus(room, loads)
  local place = math.min(room.runningMatches, #loads - 1) + 1
  local load = tonumber(string.sub(loads, place, place))
  local holds = openAllocations(room) > 0 and 1 or 0
  local row = (room.status * PING_STATUSES + room.pingStatus) * INSTANCE_STATUSES + room.instanceStatus
  local cell = (row * MATCH_LOADS + load) * 2 + holds + 1
  return tonumber(string.sub(STATUS_TABLE, cell, cell))
end

-- Tells the process that holds the room's stream, or a waiting caller.
local function notify(listener, notice)
  if listener then
    redis.call('PUBLISH', NOTICES .. listener, cjson.encode(notice))
  end
end

-- Whoever forwards the room's news reads it here. The end of a room is one event, whoever hears of it first and last.
local function announce(room, from, to, now, cause, detail)
  if room.validation then
    return
  end
  local event = {
    scheduler = SCHEDULER,
    room = room.id,
    from = from,
    to = to,
    atMs = now,
    cause = cause,
    detail = detail,
    runningMatches = room.runningMatches,
    address = room.address,
  }
  if to == STATUS_TERMINATED then
    event.id = SCHEDULER .. '/' .. room.id .. '/terminated'
  end
  redis.call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, '*', 'event', cjson.encode(event))
end

-- A match may begin or end without a change of status: a slot of several that is given, one that an unready room tells of. Whoever
-- protects matches reads of it where they read of the statuses.
local function announceMatch(room)
  local news = { scheduler = SCHEDULER, room = room.id, hasMatch = hasMatch(room) }
  redis.call('XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, '*', 'match', cjson.encode(news))
end

-- Remembers why a room has its status. from: nil for the first one.
local function noteTransition(room, from, now, cause, detail)
  local line = cjson.encode({ at = now, from = from, to = room.status, cause = cause, detail = detail })
  local before = redis.call('HGET', TRANSITIONS, room.id)
  if before then
    local cut, kept = 0, 1
    while kept < TRANSITIONS_KEPT and cut do
      cut = string.find(before, '\n', cut + 1, true)
      kept = kept + 1
    end
    line = line .. '\n' .. (cut and string.sub(before, 1, cut - 1) or before)
  end
  redis.call('HSET', TRANSITIONS, room.id, line)
end

-- Ends the memory of an allocation, and frees its key.
local function forgetAllocation(id)
  local text = redis.call('HGET', ALLOCATIONS, 'a:' .. id)
  redis.call('ZREM', ALLOCATION_TIMES, id .. '/' .. SCHEDULER)
  if text then
    local key = cjson.decode(text).key
    redis.call('HDEL', ALLOCATIONS, 'a:' .. id)
    if key and redis.call('HGET', ALLOCATIONS, 'k:' .. key) == id then
      redis.call('HDEL', ALLOCATIONS, 'k:' .. key)
    end
  end
end

-- Nobody comes to a room that goes.
local function dropAllocations(room)
  for _, allocation in ipairs(room.allocations or {}) do
    forgetAllocation(allocation.id)
  end
  room.allocations = nil
end

-- Takes an open allocation off its room. Whether it was there.
local function closeAllocation(room, id)
  local left, found = {}, false
  for _, allocation in ipairs(room.allocations or {}) do
    if allocation.id == id then
      found = true
    else
      left[#left + 1] = allocation
    end
  end
  -- An empty list would be stored as {}.
  room.allocations = #left > 0 and left or nil
  return found
end

-- The one place where a room changes its status.
local function setStatus(room, status, now, cause, detail)
  if room.status == status then
    return
  end
  local from = room.status
  room.status = status
  room.statusSinceMs = now
  if status == STATUS_READY or status == STATUS_ACTIVE or status == STATUS_OCCUPIED or status == STATUS_ALLOCATED then
    room.wasUp = true
  end
  if status == STATUS_TERMINATING or status == STATUS_TERMINATED then
    dropAllocations(room)
  end
  noteTransition(room, from, now, cause, detail)
  announce(room, from, status, now, cause, detail)
end

-- Ends the room's allocations whose time is over (at exactly its time one still holds). How many: if any, the caller stores
-- the room. One that was given its only slot is again what ping and instance say.
local function expireAllocations(room, now)
  local over = {}
  for _, allocation in ipairs(room.allocations or {}) do
    if allocation.exp and allocation.exp < now then
      over[#over + 1] = allocation.id
    end
  end
  for _, id in ipairs(over) do
    closeAllocation(room, id)
    forgetAllocation(id)
  end
  -- Only a room for one match is ever allocated.
  if #over > 0 and room.status == STATUS_ALLOCATED then
    setStatus(room, lookUpStatus(room, SINGLE_LOADS) or room.status, now, 'allocation_expired', over[#over])
  end
  return #over
end

-- Writes a changed record, its place by status and the counters. was: countedAs(room) before the change, nil if new.
local function storeRoom(room, was)
  redis.call('HSET', ROOMS, room.id, cjson.encode(room))
  if room.validation then
    return
  end
  if not was or was.status ~= room.status or was.statusSinceMs ~= room.statusSinceMs then
    redis.call('ZADD', BY_STATUS, digits(room.status * STATUS_SPAN + room.statusSinceMs), room.id)
  end
  if not was or was.status ~= room.status then
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
  local place, placeBefore = freePlace(room), was and was.freePlace
  if place ~= placeBefore then
    if placeBefore then
      redis.call('ZREM', FREE, placeBefore)
    end
    if place then
      redis.call('ZADD', FREE, '0', place)
    end
  end
  count('m', room.runningMatches - (was and was.runningMatches or 0))
  countHost(was and was.usedHost, usedHost(room))
  if was and was.status == room.status and was.hasMatch ~= hasMatch(room) then
    announceMatch(room)
  end
end

-- Remembers a room that failed, whatever its age, against its version. Once per room. The caller stores the room, or removes it.
local function noteFailure(room, reason, now)
  if room.validation or room.hasFailed then
    return
  end
  room.hasFailed = true
  redis.call('ZREMRANGEBYSCORE', FAILURES, '-inf', digits(now - FAILURES_KEPT_MS))
  redis.call('ZADD', FAILURES, digits(now), room.id .. ' ' .. room.version .. ' ' .. reason)
  -- A fleet that fails all the time must not grow it without end, nor make those who read it block all others.
  redis.call('ZREMRANGEBYRANK', FAILURES, '0', digits(-MOST_FAILURES - 1))
  redis.call('PEXPIRE', FAILURES, digits(FAILURES_KEPT_MS))
end

-- Remembers a room that failed, or ended unasked, soon after its creation or before it ever was up (which may take long: it may
-- wait for a machine first, or run and say nothing), with what the runtime says of it. status: which it had before. Once per room: one that its runtime
-- starts anew fails again and again. The caller stores the room, or removes it. Whether it is one.
local function noteEarlyEnd(room, status, reason, now)
  local isYoung = now - room.createdAtMs <= EARLY_END_AGE_MS
  -- Whether one that was found running was up before nobody knows.
  local wasNeverUp = not room.wasUp and not room.adoptedAtMs
  if room.validation or room.endedEarly or not (isYoung or status == STATUS_PENDING or wasNeverUp) then
    return false
  end
  room.endedEarly = true
  redis.call('ZREMRANGEBYSCORE', EARLY_ENDS, '-inf', digits(now - EARLY_END_WINDOW_MS))
  redis.call('ZADD', EARLY_ENDS, digits(now), room.id .. ' ' .. room.version .. ' ' .. reason)
  redis.call('PEXPIRE', EARLY_ENDS, digits(EARLY_END_WINDOW_MS))
  -- It may have been the replacement of a room that was lost.
  redis.call('DEL', LOST)
  redis.call('ZREMRANGEBYSCORE', NOT_CREATED, '-inf', digits(now - EARLY_END_WINDOW_MS))
  if room.instanceStatus == INSTANCE_UNKNOWN then
    redis.call('ZADD', NOT_CREATED, digits(now), room.id)
    redis.call('PEXPIRE', NOT_CREATED, digits(EARLY_END_WINDOW_MS))
  end
  return true
end

-- Remembers that a room which had its place is not there any more: called when it fails, and again when it is gone, for what it
-- held may be free only then. One that ended early, or was started after the last early end, had none that is known to fit.
local function noteLost(room, now)
  local last = redis.call('ZREVRANGE', EARLY_ENDS, '0', '0', 'WITHSCORES')[2]
  if not last or room.validation or room.endedEarly or room.createdAtMs > tonumber(last) then
    return
  end
  redis.call('ZADD', LOST, digits(now), room.id)
  redis.call('PEXPIRE', LOST, digits(EARLY_END_WINDOW_MS))
end

-- How many rooms ended early, how many of these had no instance, when the last one did (ms, text; '' = never) and what was said
-- of it, how many rooms were lost since.
local function readEarlyEnds(now, windowMs)
  local since = digits(now - (windowMs or EARLY_END_WINDOW_MS))
  local last = redis.call('ZREVRANGEBYSCORE', EARLY_ENDS, '+inf', since, 'WITHSCORES', 'LIMIT', '0', '1')
  return redis.call('ZCOUNT', EARLY_ENDS, since, '+inf'), redis.call('ZCOUNT', NOT_CREATED, since, '+inf'), last[2] or '',
    string.match(last[1] or '', '^[^ ]+ [^ ]+ (.*)') or '', redis.call('ZCARD', LOST)
end

-- Writes a new record and registers it.
local function addRoom(room, cause, detail)
  redis.call('ZADD', IDS, '0', room.id)
  redis.call('SADD', SCHEDULERS, SCHEDULER)
  storeRoom(room, nil)
  noteTransition(room, nil, room.statusSinceMs, cause, detail)
  announce(room, nil, room.status, room.statusSinceMs, cause, detail)
end

-- Removes everything of a room; an emptied scheduler leaves no key but its tombstones.
local function removeRoom(room)
  local counted = countedAs(room)
  dropAllocations(room)
  redis.call('HDEL', ROOMS, room.id)
  redis.call('HDEL', METADATA, room.id)
  redis.call('HDEL', TRANSITIONS, room.id)
  redis.call('ZREM', RESYNCS, SCHEDULER .. '/' .. room.id)
  redis.call('ZREM', IDS, room.id)
  redis.call('ZREM', BY_STATUS, room.id)
  if counted.freePlace then
    redis.call('ZREM', FREE, counted.freePlace)
  end
  if not room.validation then
    count('r' .. room.status, -1)
    count('i' .. room.instanceStatus, -1)
    count('m', -room.runningMatches)
    countHost(counted.usedHost, nil)
  end
  if redis.call('HLEN', ROOMS) == 0 then
    redis.call('SREM', SCHEDULERS, SCHEDULER)
    redis.call('DEL', COUNTS, HOSTS, FREE)
  end
end
