-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, id, version, validation (0|1), instance status (index), description,
--              address (JSON text; '' = none yet), created at (ms), generation,
--              adopt (0|1), authoritative (0|1), loads (see lookUpStatus), host ('' = no address yet),
--              restarts (JSON text; '' = none), unasked ('' = nobody ends it; else what is said of that if nobody here asked),
--              restart count, no fault of its version (0|1; of an instance that failed)
-- Output: {'applied', from, to, restarted (0|1)} | {'adopted', to} | {'stale'} | {'ended'} | {'unknown_room'}; statuses as indices
-- Atomic because: watchers, creators and pings race for the same room, older news must not overwrite newer, and a room
--                 that has ended must not be made anew by a late message.

local id = ARGV[2]
local generation = ARGV[9]
local adopt, authoritative = ARGV[10] == '1', ARGV[11] == '1'
local loads = ARGV[12]
local description = brief(ARGV[6])
local restarts = ARGV[14] ~= '' and ARGV[14] or nil
local unasked = brief(ARGV[15])
local restartCount = tonumber(ARGV[16])
local isVersionsFault = ARGV[17] ~= '1'
local now = nowMs()

-- The address stays the text that came, and so does the generation: Lua would turn [] into {} and round large numbers.
local function takeInstance(room)
  room.instanceStatus = tonumber(ARGV[5])
  room.description = description
  room.restarts = restarts
  room.restartCount = restartCount
  room.address, room.host = nil, nil
  if ARGV[7] ~= '' then
    room.address, room.host = ARGV[7], ARGV[13]
  end
  room.generation = generation
  room.putOffAtMs, room.putOffReason = nil, nil
end

local function whatItSays()
  local word = INSTANCE_WORDS[tonumber(ARGV[5])]
  return description ~= '' and word .. ': ' .. description or word
end

local room = loadRoom(id)
if not room then
  if isEnded(id, now) then
    return { 'ended' }
  end
  if not adopt then
    return { 'unknown_room' }
  end
  room = {
    id = id,
    version = ARGV[3],
    validation = ARGV[4] == '1',
    status = STATUS_PENDING,
    statusSinceMs = now,
    pingStatus = PING_UNKNOWN,
    createdAtMs = tonumber(ARGV[8]),
    adoptedAtMs = now,
    runningMatches = 0,
  }
  takeInstance(room)
  room.status = lookUpStatus(room, loads) or room.status
  addRoom(room, 'adopted', whatItSays())
  return { 'adopted', room.status }
end

if not authoritative and room.generation and tonumber(generation) < tonumber(room.generation) then
  return { 'stale' }
end
local was = countedAs(room)
-- Who removes a room marks it before its instance is asked to end.
if unasked ~= '' and not isLeaving(room) then
  room.unasked = unasked
end
description = room.unasked or description
-- Of an instance that was known before its restarts were counted nobody can say which of them are news.
local counted = room.instanceStatus == INSTANCE_UNKNOWN and 0 or room.restartCount
local restarted = counted and restartCount > counted and 1 or 0
expireAllocations(room, now)
local hadPlace = room.host ~= nil
takeInstance(room)
-- Where the table refuses (the room said that it is over) the news is kept and the status stays.
setStatus(room, lookUpStatus(room, loads) or room.status, now, 'instance', whatItSays())
if room.status == STATUS_ERROR and was.status ~= STATUS_ERROR then
  noteEarlyEnd(room, was.status, room.description, now)
  if isVersionsFault then
    noteFailure(room, room.description, now)
  end
  if hadPlace then
    room.hadPlace = true
    noteLost(room, now)
  end
end
storeRoom(room, was)
return { 'applied', was.status, room.status, restarted }
