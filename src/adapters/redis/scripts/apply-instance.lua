-- Input:  KEYS rooms counts byStatus metadata ids ended earlyEnds endReasons schedulers
--         ARGV id, scheduler, version, validation (0|1), instance status (index), description,
--              address (JSON text; '' = none yet), created at (ms), generation,
--              adopt (0|1), authoritative (0|1), loads (see lookUpStatus), allocation TTL (ms)
-- Output: {'applied', from, to} | {'adopted', to} | {'stale'} | {'ended'} | {'unknown_room'}; statuses as indices
-- Atomic because: watchers, creators and pings race for the same room, older news must not overwrite newer, and a room
--                 that has ended must not be made anew by a late message.

local id, scheduler = ARGV[1], ARGV[2]
local generation = ARGV[9]
local adopt, authoritative = ARGV[10] == '1', ARGV[11] == '1'
local loads, allocationTtlMs = ARGV[12], tonumber(ARGV[13])
local now = nowMs()

-- The address stays the text that came, and so does the generation: Lua would turn [] into {} and round large numbers.
local function takeInstance(room)
  room.instanceStatus = tonumber(ARGV[5])
  room.description = ARGV[6]
  room.address = nil
  if ARGV[7] ~= '' then
    room.address = ARGV[7]
  end
  room.generation = generation
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
  setStatus(room, lookUpStatus(room, loads, allocationTtlMs, now) or room.status, now)
  addRoom(room, scheduler)
  return { 'adopted', room.status }
end

if not authoritative and room.generation and tonumber(generation) < tonumber(room.generation) then
  return { 'stale' }
end
local was = countedAs(room)
takeInstance(room)
-- Where the table refuses (the room said that it is over) the news is kept and the status stays.
setStatus(room, lookUpStatus(room, loads, allocationTtlMs, now) or room.status, now)
if room.status == STATUS_ERROR and was.status ~= STATUS_ERROR then
  noteEarlyEnd(room, room.description, now)
end
storeRoom(room, was)
return { 'applied', was.status, room.status }
