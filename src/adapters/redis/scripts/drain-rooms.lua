-- Input:  KEYS of a ping (room-keys.ts)
--         ARGV scheduler, id, id, ... (at most 500)
-- Output: for each id 'draining' | 'terminating' | 'unknown_room'
-- Atomic because: between the look and the mark the room could be given to a caller.

local now = nowMs()
local answers = {}
for place = 2, #ARGV do
  local room = loadRoom(ARGV[place])
  if not room then
    answers[place - 1] = 'unknown_room'
  elseif room.status == STATUS_TERMINATING or room.status == STATUS_TERMINATED then
    answers[place - 1] = 'terminating'
  else
    if not room.drainingSinceMs then
      local was = countedAs(room)
      room.drainingSinceMs = now
      storeRoom(room, was)
      notify(room.listener, { kind = 'room_draining', scheduler = SCHEDULER, room = room.id })
    end
    answers[place - 1] = 'draining'
  end
end
return answers
