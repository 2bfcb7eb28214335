-- Has a delivery tried (again) at once, with as many tries after that as a new one.
--
-- ARGV  1 callback   2 id   3 now (ms)   4 ms for which it is kept from now on
-- Returns 'planned', 'busy' where it is being tried, or 'gone'.
local callback, id, now, kept = unpack(ARGV)
local record = K.callback_delivery .. callback .. ':' .. id
local lane = redis.call('HGET', record, 'lane')
if not lane then return 'gone' end
local lease_end = redis.call('ZSCORE', K.callback_busy .. lane, id)
if lease_end and tonumber(lease_end) > tonumber(now) then return 'busy' end
redis.call('HSET', record, 'state', 'waiting', 'count', 0, 'next', now)
redis.call('PEXPIRE', record, kept)
redis.call('LREM', K.callback_done .. callback, 0, id)
for _, list in ipairs({K.callback_due .. lane, K.callback_log .. callback}) do
  redis.call('ZADD', list, now, id)
  redis.call('PEXPIRE', list, kept)
end
plan_lane(lane)
return 'planned'
