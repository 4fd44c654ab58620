-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, id
-- Output: {'confirmed', allocation (JSON), it was before (0|1)} | {'not_found'} | {'released'}
-- Atomic because: it may expire, or its room may report the match, in the same moment.

local now = nowMs()
local allocation, room = findAllocation(ARGV[2], now)
if not allocation then
  return { 'not_found' }
end
if allocation.state == 'released' then
  return { 'released' }
end
local isRepeated = allocation.state == 'confirmed' and 1 or 0
if isRepeated == 0 then
  allocation.state, allocation.exp = 'confirmed', nil
  storeAllocation(allocation)
  redis.call('ZREM', ALLOCATION_TIMES, allocation.id .. '/' .. SCHEDULER)
  local was = countedAs(room)
  for _, open in ipairs(room.allocations or {}) do
    if open.id == allocation.id then
      open.exp = nil
      open.reportBy = now + allocation.ttl
    end
  end
  storeRoom(room, was)
end
return { 'confirmed', cjson.encode(allocation), isRepeated }
