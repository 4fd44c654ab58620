-- Input:  KEYS hearing; ARGV longest gap (ms)
-- Output: since when pings are heard without a break (ms, text)
-- Atomic because: several rooms APIs mark at once, and only a real gap may start hearing anew.

local HEARING = KEYS[1]
local now = nowMs()
local stored = redis.call('HMGET', HEARING, 'sinceMs', 'lastMs')
local since, last = tonumber(stored[1] or ''), tonumber(stored[2] or '')
-- A clock that went back (a fail-over to another node) must not leave `since` in the future.
if not since or not last or now - last > tonumber(ARGV[1]) or since > now then
  since = now
end
redis.call('HSET', HEARING, 'sinceMs', digits(since), 'lastMs', digits(now), 'maxGapMs', ARGV[1])
return digits(since)
