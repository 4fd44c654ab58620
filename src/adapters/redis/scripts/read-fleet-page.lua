-- Input:  KEYS all (room-keys.ts)
--         ARGV scheduler, cursor (the last id of the page before; '' = from the start), page size,
--              how far back failures count (ms), how far back early ends do (ms)
-- Output: {now (ms, text), synced (0|1), early ends (5 fields, readEarlyEnds),
--          failures (JSON: version -> {count, lastReason}; '{}' but on the first page),
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

-- Failures by version, of the newest so many: what a look costs must not grow with how much fails. The newest first, so that the
-- first one of a version is the one that is told.
local function failures()
  local since = digits(now - tonumber(ARGV[4]))
  local entries = redis.call('ZREVRANGEBYSCORE', FAILURES, '+inf', since, 'LIMIT', '0', digits(MOST_FAILURES))
  local byVersion = {}
  for _, entry in ipairs(entries) do
    local version, reason = string.match(entry, '^[^ ]+ ([^ ]+) (.*)$')
    if version and byVersion[version] then
      byVersion[version].count = byVersion[version].count + 1
    elseif version then
      byVersion[version] = { count = 1, lastReason = reason }
    end
  end
  return next(byVersion) and cjson.encode(byVersion) or '{}'
end

local page = { digits(now), redis.call('EXISTS', SYNCED), readEarlyEnds(now, tonumber(ARGV[5])) }
page[#page + 1] = ARGV[2] == '' and failures() or '{}'
page[#page + 1] = cursor
if #ids > 0 then
  local records = redis.call('HMGET', ROOMS, unpack(ids))
  for place = 1, #ids do
    page[#page + 1] = records[place] or ''
  end
end
return page
