-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, id
-- Output: {'released', allocation (JSON), it was before (0|1)} | {'not_found'} | {'in_use'}
-- Atomic because: the room may report the match in the same moment; and who waits is served before anybody else comes.

local now = nowMs()
local allocation, room = findAllocation(ARGV[2], now)
if not allocation then
  return { 'not_found' }
end
local isRepeated = allocation.state == 'released' and 1 or 0
if isRepeated == 0 then
  if not releaseAllocation(allocation, room, now) then
    return { 'in_use' }
  end
  serveQueue(now)
end
return { 'released', cjson.encode(allocation), isRepeated }
