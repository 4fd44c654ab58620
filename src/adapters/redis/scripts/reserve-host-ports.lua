-- Input:  KEYS holders, counts, pools
--         ARGV holder, its pool, most holders of a number in that, wanted (how many numbers), choices (how many),
--              for each choice and each wanted: number, how many of the pool, and of all, are thought to hold it,
--              then the ranges of what is wanted: protocol, start, end, ...
-- Output: {'held', number, ...}     what it holds already, in the order of what was wanted
--         {'taken', number, ...}    the first of the choices whose numbers are held by no more than was thought
--         {'refused', counts, ...}  no choice could be had: how many hold each number of each range (host-port-prelude.lua): first
--                                   of the pool, then of all
-- Atomic because: of any number of creators that draw the same number only as many of a pool may take it as that has machines.

local holder, pool, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local wanted, choices = tonumber(ARGV[4]), tonumber(ARGV[5])
local poolCounts = countsOf(pool)

local since, _, held = readHolder(holder)
if since then
  local answer = { 'held' }
  for number in string.gmatch(held, '%S+') do
    answer[#answer + 1] = number
  end
  return answer
end

local place = 6
for _ = 1, choices do
  local numbers, isFree = {}, true
  for _ = 1, wanted do
    local count, all = countOf(poolCounts, ARGV[place]), countOf(COUNTS, ARGV[place])
    isFree = isFree and count <= tonumber(ARGV[place + 1]) and all <= tonumber(ARGV[place + 2]) and count < most
    numbers[#numbers + 1] = ARGV[place]
    place = place + 3
  end
  if isFree then
    local text = table.concat(numbers, ' ')
    countNumbers(pool, text, 1)
    writeHolder(holder, nowMs(), 0, pool, text)
    return { 'taken', unpack(numbers) }
  end
end

local answer = { 'refused' }
for range = place, #ARGV, 3 do
  local first, last = countPlace(ARGV[range], ARGV[range + 1]), countPlace(ARGV[range], ARGV[range + 2])
  for _, counts in ipairs({ poolCounts, COUNTS }) do
    answer[#answer + 1] = redis.call('GETRANGE', counts, first, last + COUNT_WIDTH - 1)
  end
end
return answer
