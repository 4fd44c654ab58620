-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, reason, silent since (ms; '' = spare every match), by name (0|1: spare none),
--              what they failed of ('' = they did not fail), id, id, ... (at most 500, so that pings wait a few ms at most)
-- Output: for each id 'terminating' | 'has_match' | 'unknown_room'
-- Atomic because: a match may begin between the look and the mark, and no match may be lost to a removal.

local reason, silentSinceMs, byName = ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local failedBecause = brief(ARGV[5])
local now = nowMs()
local answers = {}

for place = 6, #ARGV do
  local room = loadRoom(ARGV[place])
  if not room then
    answers[place - 5] = 'unknown_room'
  elseif isLeaving(room) then
    -- What has ended by itself is on its way out too, and must not look younger than it is.
    answers[place - 5] = 'terminating'
  else
    local was = countedAs(room)
    local expired = expireAllocations(room, now)
    local isSilent = silentSinceMs and (room.lastPingAtMs or 0) < silentSinceMs
    -- No player was ever sent to a validation room: what it calls a match keeps it from nothing.
    if not byName and not isSilent and not room.validation and hasMatch(room) then
      if expired > 0 then
        storeRoom(room, was)
      end
      answers[place - 5] = 'has_match'
    else
      notify(room.listener, { kind = 'room_terminating', scheduler = SCHEDULER, room = room.id, reason = reason })
      if failedBecause ~= '' then
        if noteEarlyEnd(room, was.status, failedBecause, now) then
          noteFailure(room, failedBecause, now)
        end
        room.failedBecause = failedBecause
      end
      setStatus(room, STATUS_TERMINATING, now, 'removal', reason)
      storeRoom(room, was)
      answers[place - 5] = 'terminating'
    end
  end
end
return answers
