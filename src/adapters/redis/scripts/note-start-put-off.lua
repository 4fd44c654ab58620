-- Input:  KEYS of a ping (room-keys.ts)
--         ARGV scheduler, reason, id, id, ... (at most 500)
-- Output: nothing
-- Atomic because: the instance may be heard of between reading and writing the record, and is not put off then.

local reason = brief(ARGV[2])
local now = nowMs()
for place = 3, #ARGV do
  local room = loadRoom(ARGV[place])
  if room and room.instanceStatus == INSTANCE_UNKNOWN and not isLeaving(room) then
    local was = countedAs(room)
    room.putOffAtMs = now
    room.putOffReason = reason
    storeRoom(room, was)
  end
end
