-- Pasted after prelude.lua into the scripts that give rooms to callers, or take them back.
-- Input:  KEYS all (room-keys.ts)
-- Output: local functions.
-- Atomic because: between the look at a room and its mark another caller could be sent to the same slot, and between two
--                 looks at the queue somebody could be overtaken.

-- What one call may cost, so that pings wait a few ms at most. Among so many rooms that fit the strategy chooses:
local SAMPLE = 100
-- Of the rooms of a status and a part of the versions, whoever they are for:
local SHELF_READ = 500
-- For all who wait together, and once more for the caller himself: rooms, and bytes of what rooms say of themselves.
local ROOMS_READ, METADATA_READ = 2000, 262144
-- For all who wait together. Those further back are looked at when they ask themselves:
local LOOKS, WAITERS_READ = 20000, 1000
-- A look into a range of versions costs as much as so many looks at rooms:
local LOOKS_OF_A_RANGE = 10
local PAGE = 100

local function loadAllocation(id)
  local text = redis.call('HGET', ALLOCATIONS, 'a:' .. id)
  return text and cjson.decode(text) or nil
end

local function storeAllocation(allocation)
  redis.call('HSET', ALLOCATIONS, 'a:' .. allocation.id, cjson.encode(allocation))
end

-- exp: when a pending one ends, or a released one is forgotten. At exactly that time it still holds.
local function isOver(allocation, now)
  return allocation.exp ~= nil and allocation.exp < now
end

-- The allocation as callers know it, and its room (none for a released one); nil when there is none, or its room has ended or
-- is about to. Writes nothing.
local function findAllocation(id, now)
  local allocation = loadAllocation(id)
  if not allocation or isOver(allocation, now) then
    return nil
  end
  if allocation.state == 'released' then
    return allocation
  end
  local room = loadRoom(allocation.room)
  if not room or room.status == STATUS_TERMINATING or room.status == STATUS_TERMINATED then
    return nil
  end
  return allocation, room
end

-- Ends a pending allocation whose time is over, forgets any other. How many pending ones of its room ended.
local function endAllocation(id, now)
  local allocation = loadAllocation(id)
  local ended = 0
  if allocation and allocation.state == 'pending' then
    local room = loadRoom(allocation.room)
    if room then
      local was = countedAs(room)
      ended = expireAllocations(room, now)
      if ended > 0 then
        storeRoom(room, was)
      end
    end
  end
  -- Also what is left in the times of a scheduler that was deleted.
  forgetAllocation(id)
  return ended
end

-- Ends what is due of this scheduler, though nobody came by to do it; what other schedulers of the partition have is theirs.
local function endDueAllocations(now)
  local due = redis.call('ZRANGEBYSCORE', ALLOCATION_TIMES, '-inf', '(' .. digits(now), 'LIMIT', '0', digits(PAGE))
  for _, member in ipairs(due) do
    local cut = string.find(member, '/', 1, true)
    if string.sub(member, cut + 1) == SCHEDULER then
      endAllocation(string.sub(member, 1, cut - 1), now)
    end
  end
end

-- Gives a slot back to its room. False when the room has reported its match: it is the room's then.
local function releaseAllocation(allocation, room, now)
  local was = countedAs(room)
  if not closeAllocation(room, allocation.id) then
    return false
  end
  if room.status == STATUS_ALLOCATED and openAllocations(room) == 0 then
    setStatus(room, lookUpStatus(room, SINGLE_LOADS) or room.status, now, 'allocation_released', allocation.id)
  end
  storeRoom(room, was)
  if allocation.key and redis.call('HGET', ALLOCATIONS, 'k:' .. allocation.key) == allocation.id then
    redis.call('HDEL', ALLOCATIONS, 'k:' .. allocation.key)
  end
  allocation.state = 'released'
  -- One that was confirmed had no time any more.
  allocation.exp = allocation.exp or now + allocation.ttl
  storeAllocation(allocation)
  redis.call('ZADD', ALLOCATION_TIMES, digits(allocation.exp), allocation.id .. '/' .. SCHEDULER)
  return true
end

-- What a key was answered before: 'allocated' and the allocation, or 'key_reused'; nil for a key that is free.
local function answerByKey(order, now)
  local id = order.key and redis.call('HGET', ALLOCATIONS, 'k:' .. order.key)
  local allocation = id and findAllocation(id, now)
  if not allocation or allocation.state == 'released' then
    return nil
  end
  if allocation.fingerprint ~= order.fingerprint then
    return 'key_reused'
  end
  return 'allocated', allocation
end

-- What is left of the bounds above, for all looks of this call.
local looks = 0
local roomsLeft, metadataLeft = ROOMS_READ, METADATA_READ

-- Rooms that may be given, whose places lie between two (FREE, room-keys.ts): read page by page, once for all who are served in
-- this call, from anywhere on: who asks again finds his room, though not all are looked at.
local shelves = {}
local function shelfOf(status, from, to)
  local name = from .. ' ' .. to
  local shelf = shelves[name]
  if not shelf then
    looks = looks + LOOKS_OF_A_RANGE
    shelf = { status = status, from = from, to = to, entries = {}, read = 0 }
    local size = redis.call('ZLEXCOUNT', FREE, from, to)
    shelf.isRead = size == 0
    if size > 1 then
      -- By rank: a range by name walks to where it starts.
      local first = redis.call('ZRANGEBYLEX', FREE, from, to, 'LIMIT', '0', '1')[1]
      local rank = redis.call('ZRANK', FREE, first) + tonumber(redis.call('TIME')[2]) % size
      shelf.start = redis.call('ZRANGE', FREE, digits(rank), digits(rank))[1]
    end
    shelf.nextFrom, shelf.nextTo = shelf.start and '[' .. shelf.start or from, to
    shelves[name] = shelf
  end
  return shelf
end

-- False when nothing is left to read, or nothing may be read any more.
local function readShelf(shelf)
  if shelf.isRead or roomsLeft <= 0 then
    return false
  end
  -- By name, not by rank: rooms that are given meanwhile leave the range.
  local size = math.min(PAGE, SHELF_READ - shelf.read, roomsLeft)
  local places = redis.call('ZRANGEBYLEX', FREE, shelf.nextFrom, shelf.nextTo, 'LIMIT', '0', digits(size))
  shelf.read, roomsLeft = shelf.read + #places, roomsLeft - #places
  if shelf.read >= SHELF_READ then
    shelf.isRead = true
  elseif #places == size then
    shelf.nextFrom = '(' .. places[size]
  elseif shelf.start then
    shelf.nextFrom, shelf.nextTo, shelf.start = shelf.from, '(' .. shelf.start, nil
  else
    shelf.isRead = true
  end
  if #places > 0 then
    local ids = {}
    for number, place in ipairs(places) do
      ids[number] = string.match(place, '^%d+/[^/]*/(.*)$')
    end
    local texts = redis.call('HMGET', ROOMS, unpack(ids))
    for number, id in ipairs(ids) do
      if texts[number] then
        shelf.entries[#shelf.entries + 1] = { id = id, text = texts[number] }
      end
    end
  end
  return true
end

-- The room, or false when it may be given to nobody.
local function roomOnShelf(entry, status)
  if entry.room == nil then
    local room = cjson.decode(entry.text)
    entry.text = nil
    entry.room = room.address and room.lastPingAtMs and not room.drainingSinceMs and not room.validation and room or false
  end
  -- It may have been given in this call.
  return entry.room and entry.room.status == status and entry.room
end

local function usedSlots(room, now, maxMatches)
  local used = reportedMatches(room, maxMatches)
  for _, allocation in ipairs(room.allocations or {}) do
    if not isOver(allocation, now) then
      used = used + 1
    end
  end
  return used
end

-- The text that JavaScript has for a number: exact for whole ones up to 2^53, and for fractions.
local function numberText(number)
  if number == math.floor(number) and math.abs(number) <= 9007199254740992 then
    return digits(number)
  end
  for precision = 14, 17 do
    local text = string.format('%.' .. precision .. 'g', number)
    if tonumber(text) == number then
      return text
    end
  end
end

local function metadataText(entry)
  if type(entry) == 'number' then
    return numberText(entry)
  elseif type(entry) == 'boolean' then
    return tostring(entry)
  end
  return entry
end

-- Nil when no more may be read.
local function hasMetadata(entry, wanted)
  if next(wanted) == nil then
    return true
  end
  if not entry.metadata then
    if metadataLeft <= 0 then
      return nil
    end
    local said = redis.call('HGET', METADATA, entry.id) or '{}'
    metadataLeft = metadataLeft - #said
    -- What is nested too deeply for Lua is no reason to fail for everybody.
    local isRead, metadata = pcall(cjson.decode, said)
    entry.metadata = isRead and type(metadata) == 'table' and metadata or {}
  end
  for name, text in pairs(wanted) do
    if metadataText(entry.metadata[name]) ~= text then
      return false
    end
  end
  return true
end

local function isFree(room, wants, now)
  return room
    and usedSlots(room, now, wants.maxMatches) < wants.maxMatches
    and now - room.lastPingAtMs <= wants.pingTimeoutMs
    and (not room.adoptedAtMs or now - room.adoptedAtMs >= wants.adoptionHoldMs)
end

-- Ranges of versions, each { first, behind the last }: those that come first, and those for which there is nothing among them.
local function versionRanges(wants)
  local preferred, others = {}, {}
  local major = string.match(wants.activeVersion, '^v?(%d+)')
  if wants.versions then
    for _, version in ipairs(wants.versions) do
      local ranges = string.match(version, '^v?(%d+)') == major and preferred or others
      -- '0' is what follows '/'.
      ranges[#ranges + 1] = { version .. '/', version .. '0' }
    end
  elseif major then
    -- After a major number comes one of + - . / : all of them stand before '0'. Digits stand before 'v', with which most begin.
    preferred = { { 'v' .. major .. '+', 'v' .. major .. '0' }, { major .. '+', major .. '0' } }
    others = { { '', major .. '+' }, { major .. '0', 'v' .. major .. '+' }, { 'v' .. major .. '0' } }
  else
    others = { { '' } }
  end
  return preferred, others
end

-- Adds rooms that fit. What kept it from looking at more, if anything did: 'rooms' or 'metadata', of which enough was read.
local function addFitting(rooms, ranges, status, wants, now)
  for _, range in ipairs(ranges) do
    local to = range[2] and status .. '/' .. range[2] or status .. '0'
    local shelf, number = shelfOf(status, '[' .. status .. '/' .. range[1], '(' .. to), 1
    while #rooms < SAMPLE and (number <= #shelf.entries or readShelf(shelf)) do
      local entry = shelf.entries[number]
      -- A page may have added nothing.
      if entry then
        number, looks = number + 1, looks + 1
        local room = roomOnShelf(entry, status)
        if isFree(room, wants, now) then
          local fits = hasMetadata(entry, wants.metadata)
          if fits == nil then
            return 'metadata'
          elseif fits then
            rooms[#rooms + 1] = room
          end
        end
      end
    end
    if #rooms < SAMPLE and not shelf.isRead then
      return 'rooms'
    end
  end
  return nil
end

-- Rooms that fit: of the active version's major number, or, when there is none, of others. And what cut it short (addFitting).
local function findFitting(wants, now)
  local statuses = { STATUS_READY }
  if wants.maxMatches > 1 then
    statuses = wants.strategy == 'packed' and { STATUS_ACTIVE, STATUS_READY } or { STATUS_READY, STATUS_ACTIVE }
  end
  local cutBy
  local preferred, others = versionRanges(wants)
  for _, ranges in ipairs({ preferred, others }) do
    local rooms = {}
    for _, status in ipairs(statuses) do
      cutBy = addFitting(rooms, ranges, status, wants, now) or cutBy
    end
    if #rooms > 0 then
      return rooms, cutBy
    end
  end
  return {}, cutBy
end

-- The strategy's choice (src/domain/room/parse-allocation-request.ts), or nil; and what cut it short (addFitting).
local function chooseRoom(wants, now)
  local rooms, cutBy = findFitting(wants, now)
  if #rooms < 2 then
    return rooms[1], cutBy
  end
  local hosts = {}
  for place, room in ipairs(rooms) do
    hosts[place] = room.host or ''
  end
  local usedOnHosts = redis.call('HMGET', HOSTS, unpack(hosts))
  local direction = wants.strategy == 'packed' and 1 or -1
  local best, bestUsed, bestHost
  for place, room in ipairs(rooms) do
    local used, host = direction * usedSlots(room, now, wants.maxMatches), direction * (tonumber(usedOnHosts[place] or '') or 0)
    local isBetter = not best
      or used > bestUsed
      or (used == bestUsed and host > bestHost)
      or (used == bestUsed and host == bestHost and room.statusSinceMs > best.statusSinceMs)
    if isBetter then
      best, bestUsed, bestHost = room, used, host
    end
  end
  return best, cutBy
end

-- Gives a slot of the room. order: id, key (nil for none), fingerprint.
local function giveRoom(room, order, wants, now)
  local was = countedAs(room)
  expireAllocations(room, now)
  local exp = now + wants.ttlMs
  room.allocations = room.allocations or {}
  room.allocations[#room.allocations + 1] = { id = order.id, at = now, exp = exp }
  if wants.maxMatches == 1 then
    setStatus(room, STATUS_ALLOCATED, now, 'allocated', order.id)
  end
  storeRoom(room, was)
  local allocation = {
    id = order.id,
    room = room.id,
    key = order.key,
    fingerprint = order.fingerprint,
    version = room.version,
    address = room.address,
    state = 'pending',
    at = now,
    exp = exp,
    ttl = wants.ttlMs,
  }
  storeAllocation(allocation)
  if order.key then
    redis.call('HSET', ALLOCATIONS, 'k:' .. order.key, order.id)
  end
  redis.call('ZADD', ALLOCATION_TIMES, digits(exp), order.id .. '/' .. SCHEDULER)
  notify(room.listener, {
    kind = 'room_allocated',
    scheduler = SCHEDULER,
    room = room.id,
    allocation = order.id,
    expiresAtMs = exp,
  })
  return allocation
end

-- What was asked for before in this call, by its text: { wants, isVain, cutBy }. Rooms only become fewer within a call, so what
-- was asked for in vain once is not looked for again.
local askedFor = {}
local function giveAny(order, wantsText, now)
  askedFor[wantsText] = askedFor[wantsText] or { wants = cjson.decode(wantsText) }
  local asked = askedFor[wantsText]
  local room
  if not asked.isVain then
    room, asked.cutBy = chooseRoom(asked.wants, now)
  end
  if not room then
    asked.isVain = true
    return nil
  end
  return giveRoom(room, order, asked.wants, now)
end

-- The caller's own look, beside those for all who wait. again: also after one for others that was cut short.
local function giveCaller(order, wantsText, again, now)
  roomsLeft, metadataLeft = ROOMS_READ, METADATA_READ
  local asked = askedFor[wantsText]
  if again and asked and asked.cutBy then
    asked.isVain = false
  end
  return giveAny(order, wantsText, now)
end

-- A waiting caller is three lines, so that most are passed by without decoding: until when he lives, what he wants, who he is.
-- Keeps the place of one who has it. The queue goes by itself when all who wait in it have died.
local function joinQueue(order, wantsText, listener, aliveMs, now)
  if not redis.call('ZSCORE', WAITING, order.id) then
    local last = redis.call('ZREVRANGE', WAITING, '0', '0', 'WITHSCORES')
    redis.call('ZADD', WAITING, digits((tonumber(last[2] or '') or 0) + 1), order.id)
  end
  local who = cjson.encode({ listener = listener, key = order.key, fingerprint = order.fingerprint })
  redis.call('HSET', WAITERS, order.id, digits(now + aliveMs) .. '\n' .. wantsText .. '\n' .. who)
  for _, key in ipairs({ WAITING, WAITERS }) do
    if redis.call('PTTL', key) <= aliveMs then
      redis.call('PEXPIRE', key, digits(aliveMs + 1000))
    end
  end
end

local function leaveQueue(id)
  redis.call('ZREM', WAITING, id)
  redis.call('HDEL', WAITERS, id)
end

-- Serves those who wait, in the order of their places, and drops the dead. caller: who asks, and is told by the answer instead
-- of a notice; nil for none.
-- Returns how many were given a room, what the caller was given, and whether everybody was looked at for whom there may be one.
local function serveQueue(now, caller)
  if redis.call('EXISTS', SYNCED) == 0 then
    return 0, nil, false
  end
  local served, given, left, isWhole = 0, nil, 0, true
  while left < WAITERS_READ do
    local ids = redis.call('ZRANGE', WAITING, digits(left), digits(left + PAGE - 1))
    if #ids == 0 then
      return served, given, isWhole
    end
    local waiters = redis.call('HMGET', WAITERS, unpack(ids))
    for place, id in ipairs(ids) do
      local aliveUntil, wantsText, who = string.match(waiters[place] or '', '^(%d+)\n([^\n]*)\n(.*)$')
      local asked = askedFor[wantsText or '']
      if not aliveUntil or tonumber(aliveUntil) < now then
        leaveQueue(id)
      elseif asked and asked.isVain then
        left = left + 1
      elseif looks >= LOOKS then
        return served, given, false
      else
        local order = cjson.decode(who)
        order.id = id
        local outcome = answerByKey(order, now)
        local allocation = not outcome and giveAny(order, wantsText, now)
        if allocation then
          served = served + 1
          if id == caller then
            given = allocation
          end
        end
        if outcome or allocation then
          leaveQueue(id)
          if id ~= caller then
            notify(order.listener, { kind = 'allocation_served', scheduler = SCHEDULER, allocation = id })
          end
        else
          left = left + 1
          isWhole = isWhole and askedFor[wantsText].cutBy ~= 'rooms'
        end
      end
    end
    if redis.call('EXISTS', FREE) == 0 then
      -- Nobody else can get anything. The dead further behind are dropped when they come to the front.
      return served, given, isWhole
    end
  end
  return served, given, isWhole and redis.call('ZCARD', WAITING) <= left
end
