-- Input:  KEYS of a ping (room-keys.ts)
--         ARGV scheduler, reason (a drain reason), id, id, ... (at most 500)
-- Output: for each id 1 (it may be given out again) | 0
-- Atomic because: someone else may want it drained for a reason of their own, or end it, meanwhile; and its stream must hear of
--                 drains and releases in their order.

local reason = ARGV[2]
local answers = {}
for place = 3, #ARGV do
  local room = loadRoom(ARGV[place])
  local isOurs = room and room.drainReason == reason and room.status ~= STATUS_TERMINATING and room.status ~= STATUS_TERMINATED
  if isOurs then
    local was = countedAs(room)
    room.drainingSinceMs, room.drainReason = nil, nil
    notify(room.listener, { kind = 'room_drain_canceled', scheduler = SCHEDULER, room = room.id })
    storeRoom(room, was)
  end
  answers[place - 2] = isOurs and 1 or 0
end
return answers
