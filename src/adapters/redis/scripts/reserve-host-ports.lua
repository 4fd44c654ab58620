-- Input:  KEYS holders, counts
--         ARGV holder, most holders of a number, wanted (how many numbers), choices (how many),
--              for each choice and each wanted: number, how many are thought to hold it,
--              then the ranges of what is wanted: protocol, start, end, ...
-- Output: {'held', number, ...}     what it holds already, in the order of what was wanted
--         {'taken', number, ...}    the first of the choices whose numbers are held by no more than was thought
--         {'refused', counts, ...}  no choice could be had: how many hold each number of each range (host-port-prelude.lua)
-- Atomic because: of any number of creators that draw the same number only as many may take it as there are machines.

local holder, most = ARGV[1], tonumber(ARGV[2])
local wanted, choices = tonumber(ARGV[3]), tonumber(ARGV[4])

local since, _, held = readHolder(holder)
if since then
  local answer = { 'held' }
  for number in string.gmatch(held, '%S+') do
    answer[#answer + 1] = number
  end
  return answer
end

local place = 5
for _ = 1, choices do
  local numbers, isFree = {}, true
  for _ = 1, wanted do
    local count = countOf(ARGV[place])
    isFree = isFree and count <= tonumber(ARGV[place + 1]) and count < most
    numbers[#numbers + 1] = ARGV[place]
    place = place + 2
  end
  if isFree then
    local text = table.concat(numbers, ' ')
    countNumbers(text, 1)
    writeHolder(holder, nowMs(), 0, text)
    return { 'taken', unpack(numbers) }
  end
end

local answer = { 'refused' }
for range = place, #ARGV, 3 do
  local first, last = countPlace(ARGV[range], ARGV[range + 1]), countPlace(ARGV[range], ARGV[range + 2])
  answer[#answer + 1] = redis.call('GETRANGE', COUNTS, first, last + COUNT_WIDTH - 1)
end
return answer
