-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, cursor (the last id of the page before; '' = from the start), page size
-- Output: {now (ms, text), synced (0|1), early ends, when the last one was (ms, text; '' = never), its reason,
--          cursor of the next page ('' = this was the last), record, record, ...}
-- Atomic because: a page's ids and records belong together; across pages the order of ids makes a room come exactly once.

local size = tonumber(ARGV[3])
local from = '-'
if ARGV[2] ~= '' then
  from = '(' .. ARGV[2]
end
local ids = redis.call('ZRANGEBYLEX', IDS, from, '+', 'LIMIT', '0', digits(size + 1))
local cursor = ''
if #ids > size then
  ids[#ids] = nil
  cursor = ids[#ids]
end
local now = nowMs()
local earlyEnds = redis.call('ZCOUNT', EARLY_ENDS, digits(now - EARLY_END_WINDOW_MS), '+inf')
local last = redis.call('ZREVRANGE', EARLY_ENDS, '0', '0', 'WITHSCORES')
local page = { digits(now), redis.call('EXISTS', SYNCED), earlyEnds, last[2] or '', string.match(last[1] or '', ' (.*)') or '', cursor }
if #ids > 0 then
  local records = redis.call('HMGET', ROOMS, unpack(ids))
  for place = 1, #ids do
    page[#page + 1] = records[place] or ''
  end
end
return page
