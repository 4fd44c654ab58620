-- Input:  KEYS rooms counts byStatus
--         ARGV silent since (ms; '' = spare every match), id, id, ... (at most 500, so that pings wait a few ms at most)
-- Output: for each id 'terminating' | 'has_match' | 'unknown_room'
-- Atomic because: a match may begin between the look and the mark, and no match may be lost to a removal.

local silentSinceMs = tonumber(ARGV[1])
local now = nowMs()
local answers = {}
for place = 2, #ARGV do
  local room = loadRoom(ARGV[place])
  if not room then
    answers[place - 1] = 'unknown_room'
  elseif room.status == STATUS_TERMINATING or room.status == STATUS_TERMINATED then
    -- What has ended by itself is on its way out too, and must not look younger than it is.
    answers[place - 1] = 'terminating'
  else
    local cell = room.status * 2 + (room.runningMatches > 0 and 1 or 0) + 1
    local isSilent = silentSinceMs and (room.lastPingAtMs or 0) < silentSinceMs
    -- No player was ever sent to a validation room: what it calls a match keeps it from nothing.
    if not isSilent and not room.validation and string.sub(HAS_MATCH, cell, cell) == '1' then
      answers[place - 1] = 'has_match'
    else
      local was = countedAs(room)
      setStatus(room, STATUS_TERMINATING, now)
      storeRoom(room, was)
      answers[place - 1] = 'terminating'
    end
  end
end
return answers
