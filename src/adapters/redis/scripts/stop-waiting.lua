-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, id, keep (0|1)
-- Output: allocation (JSON) | nil
-- Atomic because: a caller may be served in the moment in which he leaves.

local id, keep = ARGV[2], ARGV[3] == '1'
local now = nowMs()
leaveQueue(id)
local allocation, room = findAllocation(id, now)
if not room then
  return nil
end
if keep then
  return cjson.encode(allocation)
end
if releaseAllocation(allocation, room, now) then
  serveQueue(now)
end
return nil
