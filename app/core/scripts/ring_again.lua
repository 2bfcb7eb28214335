-- Rings again for queued messages whose job is gone.
--
-- The queue is in the order of the rings' numbers: what is older than the ring at its head and not
-- claimed has lost its job; where the queue is empty, all that is queued has.
--
-- ARGV  1 how many at most   2 now as RQ writes it
-- Returns the ids.
though_full()
local bound = '+inf'
local heads = redis.call('LRANGE', K.rq_queue .. Q.name, 0, 63)
if #heads > 0 then
  bound = nil
  for _, id in ipairs(heads) do
    local number = redis.call('ZSCORE', K.queued, id)
    if number and (not bound or tonumber(number) < tonumber(bound)) then bound = number end
  end
  if not bound then return {} end
  bound = '(' .. bound
end
local ids = redis.call('ZRANGEBYSCORE', K.queued, '-inf', bound, 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do ring(id, ARGV[2]) end
return ids
