-- Puts messages whose time has come into their queues.
--
-- ARGV  1 now (ms)   2 how many at most   3 now as RQ writes it
-- Returns {rung, id, ...}: how many, and those that wait for something else than their turn.
local others, rung = {0}, 0
local ids = redis.call('ZRANGEBYSCORE', K.waiting, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
if #ids > 0 then though_full() end
for _, id in ipairs(ids) do
  local record = K.message .. id
  local known = redis.call('HMGET', record, 'state', 'key', 'priority')
  if known[1] == 'scheduled' or known[1] == 'retrying' then
    redis.call('HSET', record, 'state', 'queued', 'updated', ARGV[1])
    redis.call('HINCRBY', record, 'version', 1)
    redis.call('HDEL', record, 'next')
    file(id, known[2], known[1], 'queued')
    later('ZREM', K.waiting, id)
    ring(id, ARGV[3], known[3] or 'normal')
    rung = rung + 1
  else
    others[#others + 1] = id
  end
end
write_lists()
others[1] = rung
return others
