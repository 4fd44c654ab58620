-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, cursor (the last id of the page before; '' = from the start), page size
-- Output: {now (ms, text), synced (0|1), early ends (5 fields, readEarlyEnds),
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
local page = { digits(now), redis.call('EXISTS', SYNCED), readEarlyEnds(now) }
page[#page + 1] = cursor
if #ids > 0 then
  local records = redis.call('HMGET', ROOMS, unpack(ids))
  for place = 1, #ids do
    page[#page + 1] = records[place] or ''
  end
end
return page
