-- Input:  KEYS of a ping (room-keys.ts)
--         ARGV scheduler, reason (a drain reason), id, id, ... (at most 500)
-- Output: for each id 'draining' | 'has_match' | 'terminating' | 'unknown_room'
-- Atomic because: between the look and the mark the room could be given to a caller.

local reason = ARGV[2]
local now = nowMs()
local answers = {}
for place = 3, #ARGV do
  local room = loadRoom(ARGV[place])
  local answer
  if not room then
    answer = 'unknown_room'
  elseif room.status == STATUS_TERMINATING or room.status == STATUS_TERMINATED then
    answer = 'terminating'
  else
    local was = countedAs(room)
    local expired = expireAllocations(room, now)
    local isNew = not room.drainingSinceMs
    if isNew and reason == 'scale_down' and hasMatch(room) then
      answer = 'has_match'
    else
      answer = 'draining'
      if isNew then
        room.drainingSinceMs = now
        room.drainReason = reason
        notify(room.listener, { kind = 'room_draining', scheduler = SCHEDULER, room = room.id })
      elseif reason == 'operator' and room.drainReason and room.drainReason ~= reason then
        -- What someone asked for by name is not taken back by whoever else had marked it first.
        room.drainReason = reason
        isNew = true
      end
    end
    if isNew or expired > 0 then
      storeRoom(room, was)
    end
  end
  answers[place - 2] = answer
end
return answers
