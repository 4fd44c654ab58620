-- Input:  KEYS rooms counts byStatus metadata ids ended earlyEnds endReasons schedulers synced
--         ARGV ping timeout (ms), adoption hold (ms)
-- Output: {'allocated', id, address (JSON text)} | {'no_ready_room'} | {'rebuilding'}
-- Atomic because: between the look at a room and its mark another caller could be sent to the same room.

local pingTimeoutMs, adoptionHoldMs = tonumber(ARGV[1]), tonumber(ARGV[2])
-- The candidates that one call looks at: a fleet that fell silent together must not make callers block the server.
local PAGE, MOST = 20, 1000

if redis.call('EXISTS', SYNCED) == 0 then
  return { 'rebuilding' }
end

local now = nowMs()

-- Ready rooms have pinged, and validation rooms are not among those by status.
local function mayBeGiven(room)
  return room.address
    and room.lastPingAtMs
    and now - room.lastPingAtMs <= pingTimeoutMs
    and (not room.adoptedAtMs or now - room.adoptedAtMs >= adoptionHoldMs)
end

-- Ready rooms, the one that became so last first.
local highest, lowest = digits((STATUS_READY + 1) * STATUS_SPAN - 1), digits(STATUS_READY * STATUS_SPAN)
for offset = 0, MOST - PAGE, PAGE do
  local ids = redis.call('ZREVRANGEBYSCORE', BY_STATUS, highest, lowest, 'LIMIT', digits(offset), digits(PAGE))
  for _, id in ipairs(ids) do
    local room = loadRoom(id)
    if room and mayBeGiven(room) then
      local was = countedAs(room)
      setStatus(room, STATUS_ALLOCATED, now)
      room.allocatedAtMs = now
      storeRoom(room, was)
      return { 'allocated', id, room.address }
    end
  end
  if #ids < PAGE then
    break
  end
end
return { 'no_ready_room' }
