-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, id, key ('' = none), fingerprint, what is wanted (JSON: maxMatches, activeVersion, versions, metadata,
--              strategy, ttlMs, pingTimeoutMs, adoptionHoldMs; one text for all who want the same),
--              listener ('' = does not wait), alive for (ms)
-- Output: {'allocated', repeated (0|1), allocation (JSON)} | {'waiting', how many are ahead} | {'no_room'} | {'rebuilding'}
--         | {'key_reused'}
-- Atomic because: see allocation-prelude.lua; and two requests of one key must find each other's answer.

local order = { id = ARGV[2], key = ARGV[3] ~= '' and ARGV[3] or nil, fingerprint = ARGV[4] }
local wantsText, aliveMs = ARGV[5], tonumber(ARGV[7])
local listener = ARGV[6] ~= '' and ARGV[6] or nil
local now = nowMs()

local function answerAllocated(allocation, isRepeated)
  return { 'allocated', isRepeated and 1 or 0, cjson.encode(allocation) }
end

local before = loadAllocation(order.id)
if before and isOver(before, now) then
  endAllocation(order.id, now)
elseif before then
  local allocation = findAllocation(order.id, now)
  if allocation and allocation.state ~= 'released' then
    return answerAllocated(allocation, true)
  end
  -- What it was given is gone, and nobody is served twice.
  return { 'no_room' }
end

local function answerOfSameKey()
  local outcome, allocation = answerByKey(order, now)
  if outcome then
    leaveQueue(order.id)
    return allocation and answerAllocated(allocation, true) or { outcome }
  end
end

local answer = answerOfSameKey()
if answer then
  return answer
end
local isInQueue = redis.call('ZSCORE', WAITING, order.id)
if listener and (isInQueue or redis.call('EXISTS', SYNCED) == 0) then
  joinQueue(order, wantsText, listener, aliveMs, now)
end
if redis.call('EXISTS', SYNCED) == 0 then
  return { 'rebuilding' }
end

endDueAllocations(now)
local _, given, isQueueServed = serveQueue(now, order.id)
-- Somebody ahead may have had the same key.
answer = not given and answerOfSameKey()
if answer then
  return answer
end
-- Behind so many others that not all were looked at, a newcomer could pass one who wants the same: he waits in line, and when he
-- asks again he has his own look.
if not given and (isQueueServed or isInQueue) then
  given = giveCaller(order, wantsText, isInQueue, now)
  if given and isInQueue then
    leaveQueue(order.id)
  end
end
if given then
  return answerAllocated(given, false)
end
if not listener then
  leaveQueue(order.id)
  return { 'no_room' }
end
joinQueue(order, wantsText, listener, aliveMs, now)
return { 'waiting', redis.call('ZRANK', WAITING, order.id) }
