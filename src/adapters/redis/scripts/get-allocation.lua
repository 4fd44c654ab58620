-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, id
-- Output: allocation (JSON) | nil
-- Atomic because: an allocation is as alive as its room, at the store's time.

local allocation = findAllocation(ARGV[2], nowMs())
return allocation and cjson.encode(allocation) or nil
