-- Removes ended messages whose time is over, with their bodies and their places in the lists.
--
-- ARGV  1 now (ms)   2 how many at most
-- Returns how many.
local ids = redis.call('ZRANGEBYSCORE', K.ended, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do
  local known = redis.call('HMGET', K.message .. id, 'key', 'state')
  if known[1] then
    redis.call('ZREM', K.messages .. known[1], id)
    redis.call('ZREM', K.messages .. known[1] .. ':' .. known[2], id)
  end
  redis.call('DEL', K.message .. id, K.body .. id, K.attachments .. id, K.timeline .. id)
  redis.call('ZREM', K.ended, id)
end
return #ids
