-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler
-- Output: early ends (5 fields, readEarlyEnds)
-- Atomic because: what is counted and what the last one was belong together.

return { readEarlyEnds(nowMs()) }
