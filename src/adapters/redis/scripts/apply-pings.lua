-- Input:  KEYS rooms counts byStatus metadata
--         ARGV id, ping status (index), running matches, metadata (JSON object; '' = the ping had none),
--              loads (see lookUpStatus), allocation TTL (ms)
-- Output: {'applied', from, to, validation (0|1)} | {'refused', from} | {'unknown_room'}; statuses as indices
-- Atomic because: the new status follows from what is stored, pings of a room race with its instance's news and with
--                 its removal, and a late ping must not bring a removed room back.

local id, metadata = ARGV[1], ARGV[4]
local room = loadRoom(id)
if not room then
  return { 'unknown_room' }
end
local now = nowMs()
local was = countedAs(room)
local saidBefore = room.pingStatus
room.lastPingAtMs = now
room.pingStatus = tonumber(ARGV[2])
room.runningMatches = tonumber(ARGV[3])

local status = lookUpStatus(room, ARGV[5], tonumber(ARGV[6]), now)
if not status then
  room.pingStatus = saidBefore
  room.runningMatches = was.runningMatches
  storeRoom(room, was)
  return { 'refused', was.status }
end

setStatus(room, status, now)
storeRoom(room, was)
if metadata ~= '' and redis.call('HGET', METADATA, id) ~= metadata then
  redis.call('HSET', METADATA, id, metadata)
end
return { 'applied', was.status, status, room.validation and 1 or 0 }
