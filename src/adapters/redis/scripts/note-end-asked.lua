-- Input:  KEYS of a ping (room-keys.ts)
--         ARGV scheduler, id, id, ... (at most 500)
-- Output: nothing
-- Atomic because: a ping or the watcher's news between reading and writing the record would be lost.

local now = nowMs()
for place = 2, #ARGV do
  local room = loadRoom(ARGV[place])
  if room and isLeaving(room) then
    local was = countedAs(room)
    room.endAsks = (room.endAsks or 0) + 1
    room.endAskedAtMs = now
    storeRoom(room, was)
  end
end
