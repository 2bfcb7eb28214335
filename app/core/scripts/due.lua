-- Puts messages whose time has come into their queues, those of high priority first.
--
-- ARGV  1 now (ms)   2 how many at most   3 now as RQ writes it
-- Returns {rung, id, ...}: how many, and those that wait for something else than their turn.
local now, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local others, rung = {0}, 0

local function due(id, list)
  local record = K.message .. id
  local state, key, priority, next_at, version =
    unpack(redis.call('HMGET', record, 'state', 'key', 'priority', 'next', 'version'))
  priority = priority or 'normal'
  if not next_at or tonumber(next_at) > now then
    -- It waited here when one list was for all priorities, and has been moved since.
    redis.call('ZREM', list, id)
    if next_at then redis.call('ZADD', WAITING[priority], next_at, id) end
  elseif state == 'scheduled' or state == 'retrying' then
    redis.call('HSET', record, 'state', 'queued', 'updated', ARGV[1],
      'version', string.format('%.0f', version + 1))
    redis.call('HDEL', record, 'next')
    file(id, key, state, 'queued')
    later('ZREM', list, id)
    if list ~= WAITING[priority] then later('ZREM', WAITING[priority], id) end
    ring(id, ARGV[3], priority)
    rung = rung + 1
  else
    others[#others + 1] = id
  end
end

for _, each in ipairs(PRIORITIES) do
  local list = WAITING[each]
  local ids = {}
  if left > 0 then ids = redis.call('ZRANGEBYSCORE', list, '-inf', ARGV[1], 'LIMIT', 0, left) end
  if #ids > 0 then though_full() end
  for _, id in ipairs(ids) do due(id, list) end
  left = left - #ids
end
write_lists()
others[1] = rung
return others
