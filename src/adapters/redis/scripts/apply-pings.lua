-- Input:  KEYS of a ping (room-keys.ts)
--         ARGV scheduler, loads (see lookUpStatus), then for each ping: id, ping status (index), running matches,
--              metadata (JSON object; '' = none; '=' as before), listener ('' = no stream), resync (0|1)
-- Output: for each ping {'applied', from, to, validation (0|1), draining (0|1), open allocations, awaited (0|1),
--         used otherwise (0|1), match lost (0|1)}
--         | {'refused', from} | {'unknown_room'}; statuses as indices; an error where this one ping failed;
--         an error alone where the server refuses them all (REFUSALS) and nothing was written: only so does the client
--         see that it must look for another server
-- Atomic because: the new status follows from what is stored, pings of a room race with its instance's news and with
--                 its removal, and a late ping must not bring a removed room back.

local loads = ARGV[2]
local maxMatches = #loads - 1
local now = nowMs()
local REFUSALS = { READONLY = true, MASTERDOWN = true, MISCONF = true, OOM = true, NOREPLICAS = true }

-- What could be given of the room now. Without a look at its silence, which needs the caller's settings.
local function freeSlots(room)
  local isOffered = (room.status == STATUS_READY or room.status == STATUS_ACTIVE)
    and not room.validation
    and not room.drainingSinceMs
  return isOffered and math.max(0, maxMatches - reportedMatches(room, maxMatches) - openAllocations(room)) or 0
end

-- Slots that are not to be had: what runs in the room, and what was given of it. Of a room for one match nothing but hasMatch tells.
local function usedSlots(runningMatches, openSlots)
  return maxMatches == 1 and 0 or runningMatches + openSlots
end

-- Whether an error is the server's state, and not this ping's. Redis 6 and Lua put their place before the error's word.
local function isRefusal(text)
  return REFUSALS[string.match(text, '^(%u+) ') or string.match(text, '%-(%u+) ')] or false
end

-- The slot is the room's from now on; the allocation is remembered for another of its time to live.
local function useAllocation(room, id)
  closeAllocation(room, id)
  local text = redis.call('HGET', ALLOCATIONS, 'a:' .. id)
  if text then
    local allocation = cjson.decode(text)
    allocation.state = 'confirmed'
    allocation.exp = nil
    redis.call('HSET', ALLOCATIONS, 'a:' .. id, cjson.encode(allocation))
    redis.call('ZADD', ALLOCATION_TIMES, digits(now + allocation.ttl), id .. '/' .. SCHEDULER)
  end
end

-- What the room reports uses up what was given of it, oldest first. One that its caller confirmed long ago is used too: its
-- match began as another ended, between two pings, or is over, or nobody came.
local function useAllocations(room, reported)
  for _ = 1, math.min(reported, openAllocations(room)) do
    useAllocation(room, room.allocations[1].id)
  end
  for _, allocation in ipairs(room.allocations or {}) do
    if allocation.reportBy and allocation.reportBy < now then
      useAllocation(room, allocation.id)
    end
  end
end

local function applyPing(id, pingStatus, runningMatches, metadata, listener, resync)
  local room = loadRoom(id)
  if not room then
    return { 'unknown_room' }
  end
  local was = countedAs(room)
  local freeBefore = freeSlots(room)
  expireAllocations(room, now)
  local saidBefore = room.pingStatus
  room.lastPingAtMs = now
  room.listener = listener ~= '' and listener or nil
  room.pingStatus = pingStatus
  room.runningMatches = runningMatches

  if not lookUpStatus(room, loads) then
    room.pingStatus = saidBefore
    room.runningMatches = was.runningMatches
    storeRoom(room, was)
    return { 'refused', was.status }
  end
  if room.allocations then
    local reported = math.max(0, runningMatches - was.runningMatches)
    -- A room for one match counts by its word: it may have said before that a match runs, and not mean another one.
    if maxMatches == 1 then
      reported = pingStatus == PING_OCCUPIED and 1 or 0
    end
    useAllocations(room, reported)
  end

  setStatus(room, lookUpStatus(room, loads), now, 'ping', PING_WORDS[pingStatus])
  storeRoom(room, was)
  if metadata == '' then
    redis.call('HDEL', METADATA, id)
  elseif metadata ~= '=' and redis.call('HGET', METADATA, id) ~= metadata then
    redis.call('HSET', METADATA, id, metadata)
  end
  if resync and not room.validation then
    redis.call('ZADD', RESYNCS, 'NX', digits(now), SCHEDULER .. '/' .. id)
  end
  local isAwaited = freeSlots(room) > freeBefore and redis.call('EXISTS', WAITING) or 0
  local draining = room.drainingSinceMs and 1 or 0
  local open = openAllocations(room)
  local usedBefore = usedSlots(was.runningMatches, was.openAllocations)
  local isUsedOtherwise = hasMatch(room) ~= was.hasMatch or usedSlots(room.runningMatches, open) ~= usedBefore
  local hasLostMatch = was.hasMatch and not hasMatch(room)
  return {
    'applied', was.status, room.status, room.validation and 1 or 0, draining, open, isAwaited,
    isUsedOtherwise and 1 or 0, hasLostMatch and 1 or 0,
  }
end

local answers = {}
local isUntouched = true
for place = 3, #ARGV, 6 do
  local isDone, answer = pcall(
    applyPing,
    ARGV[place],
    tonumber(ARGV[place + 1]),
    tonumber(ARGV[place + 2]),
    ARGV[place + 3],
    ARGV[place + 4],
    ARGV[place + 5] == '1'
  )
  -- What is wrong with one room is not the others' failure. Redis' own refusals are tables, Lua's are texts.
  if not isDone and type(answer) ~= 'table' then
    answer = redis.error_reply(answer)
  end
  if not isDone and isUntouched and isRefusal(answer.err) then
    return answer
  end
  isUntouched = isUntouched and answer[1] == 'unknown_room'
  answers[#answers + 1] = answer
end
return answers
