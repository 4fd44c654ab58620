-- Input:  KEYS holders, counts
--         ARGV holder, most holders of a number, wanted (how many numbers), choices (how many),
--              for each choice and each wanted: number, how many are thought to hold it,
--              then the ranges of what is wanted: protocol, start, end, ...
-- Output: {'held', number, ...}     what it holds already, in the order of what was wanted
--         {'taken', number, ...}    the first of the choices whose numbers are held by no more than was thought
--         {'refused', number, how many hold it, ...}    no choice could be had; all that is held within the ranges
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
    local count = tonumber(redis.call('HGET', COUNTS, ARGV[place]) or '0')
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

-- Whichever is shorter: all that is held, or each number of the ranges.
local answer = { 'refused' }
local size = 0
for range = place, #ARGV, 3 do
  size = size + tonumber(ARGV[range + 2]) - tonumber(ARGV[range + 1]) + 1
end
if redis.call('HLEN', COUNTS) <= size then
  for _, text in ipairs(redis.call('HGETALL', COUNTS)) do
    answer[#answer + 1] = text
  end
  return answer
end
-- Lua passes on a few thousand values at once at most.
local numbersAtOnce = 1000
for range = place, #ARGV, 3 do
  local first, last = tonumber(ARGV[range + 1]), tonumber(ARGV[range + 2])
  for start = first, last, numbersAtOnce do
    local numbers = {}
    for port = start, math.min(start + numbersAtOnce - 1, last) do
      numbers[#numbers + 1] = ARGV[range] .. '/' .. digits(port)
    end
    for index, count in ipairs(redis.call('HMGET', COUNTS, unpack(numbers))) do
      if count then
        answer[#answer + 1] = numbers[index]
        answer[#answer + 1] = count
      end
    end
  end
end
return answer
