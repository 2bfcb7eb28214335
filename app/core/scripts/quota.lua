-- Takes tokens from the first of some providers that has enough of them in all of its windows.
--
-- A window counts what was taken in slots of time, and a slot leaves it when all of it is too old: what was
-- taken within any stretch of the window's length is never more than its limit. A mail that alone is more than
-- the limit takes an empty window, and what is left of it is written to the windows that follow.
--
-- ARGV  for each provider: its name, its number of windows, and for each of these: its name,
--         the limit, the length (ms), the length of a slot (ms), tokens needed, tokens wanted if there
--         are more, tokens given back, and the slot that they were taken from
-- Returns the place of the provider that gave (0 for none), for each of those before it the milliseconds
-- after which it is worth asking again and the place of the window that is full until then, and for each
-- window of the one that gave: tokens, slot.
though_full()
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- The fields of a range of slots, in steps: a call takes no more arguments than a stack has room for.
local function each(key, first, last, visit)
  for from = first, last, 500 do
    local names = {}
    for slot = from, math.min(from + 499, last) do names[#names + 1] = string.format('%d', slot) end
    for place, count in ipairs(redis.call('HMGET', key, unpack(names))) do
      if count and visit(from + place - 1, tonumber(count)) then return end
    end
  end
end

-- What the window holds, after what is too old has left it.
local function current(window)
  local seen = redis.call('HMGET', window.key, 'total', 'first', 'last')
  if not seen[1] then return 0 end
  local total, first, last = tonumber(seen[1]), tonumber(seen[2]), tonumber(seen[3])
  local oldest = math.floor((now - window.length) / window.slot)
  if window.back > 0 and redis.call('HEXISTS', window.key, window.back_to) == 1 then
    redis.call('HINCRBY', window.key, window.back_to, -window.back)
    total = total - window.back
  end
  if first < oldest then
    each(window.key, first, math.min(oldest - 1, last), function(slot, count)
      total = total - count
      redis.call('HDEL', window.key, string.format('%d', slot))
    end)
    first = oldest
  end
  redis.call('HSET', window.key, 'total', string.format('%d', total), 'first', string.format('%d', first))
  window.first, window.last = first, last
  return total
end

-- The milliseconds until so many tokens have left the window.
local function time_for(window, tokens)
  local wait = window.slot
  each(window.key, window.first, window.last, function(slot, count)
    tokens = tokens - count
    wait = (slot + 1) * window.slot + window.length - now
    return tokens <= 0
  end)
  return wait
end

local function give(window, tokens)
  local step = math.ceil(window.length / window.slot) + 1
  local slot, last, rest = math.floor(now / window.slot), window.last or 0, tokens
  -- The clock of a server that took over may be behind.
  if not window.first or slot < window.first then
    redis.call('HSET', window.key, 'first', string.format('%d', slot))
  end
  local at = slot
  while rest > 0 do
    redis.call('HINCRBY', window.key, string.format('%d', at), math.min(rest, window.limit))
    last = math.max(last, at)
    rest, at = rest - window.limit, at + step
  end
  redis.call('HINCRBY', window.key, 'total', tokens)
  redis.call('HSET', window.key, 'last', string.format('%d', last))
  redis.call('PEXPIRE', window.key, string.format('%d', (last + 2) * window.slot + window.length - now))
  return slot
end

local waits, place, at = {}, 0, 1
while ARGV[at] do
  place = place + 1
  local name, windows, wait, full = ARGV[at], {}, 0, 0
  for number = 1, ARGV[at + 1] do
    local from = at + 2 + (number - 1) * 8
    local window = {
      key = K.quota .. name .. ':' .. ARGV[from], limit = tonumber(ARGV[from + 1]),
      length = tonumber(ARGV[from + 2]), slot = tonumber(ARGV[from + 3]),
      need = tonumber(ARGV[from + 4]), want = tonumber(ARGV[from + 5]),
      back = tonumber(ARGV[from + 6]), back_to = ARGV[from + 7],
    }
    local total = current(window)
    window.room = window.limit - total
    local short = math.min(window.need, window.limit) - window.room
    local until_then = short > 0 and math.max(time_for(window, short), 1) or 0
    if until_then > wait then wait, full = until_then, number end
    windows[number] = window
  end
  if wait == 0 then
    local given = {}
    for number, window in ipairs(windows) do
      local tokens = math.max(window.need, math.min(window.want, window.room))
      given[2 * number - 1], given[2 * number] = tokens, give(window, tokens)
    end
    return {place, waits, given}
  end
  waits[2 * place - 1], waits[2 * place] = wait, full
  at = at + 2 + 8 * ARGV[at + 1]
end
return {0, waits, {}}
