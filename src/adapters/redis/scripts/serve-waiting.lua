-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler
-- Output: how many were served
-- Atomic because: see allocation-prelude.lua.

local now = nowMs()
endDueAllocations(now)
return (serveQueue(now))
