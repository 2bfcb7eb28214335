-- Writes down how a try went, if the delivery is still the one's who tried.
--
-- ARGV  1 lane   2 callback   3 id   4 end of the lease (ms)   5 now (ms)   6 state   7 when it is due again (ms), or ''
--       8 tries, as JSON   9 number of tries since it was asked for   10 what went wrong, or ''
--       11 until when the lane rests (ms), or ''   12 ms for which things are kept
--       13 how many deliveries that are over are kept
-- Returns 'written', or 'lost' where somebody else has it, or nobody wants it any more.
though_full()
local lane, callback, id, lease_end, now, state, due_at, tries, count, fault, rest, kept, most = unpack(ARGV)
local due, record = K.callback_due .. lane, K.callback_delivery .. callback .. ':' .. id
local done, log = K.callback_done .. callback, K.callback_log .. callback
local mine = redis.call('ZSCORE', due, id)
if not mine or tonumber(mine) ~= tonumber(lease_end) then return 'lost' end

redis.call('HSET', record, 'state', state, 'tries', tries, 'count', count, 'next', due_at)
redis.call('ZREM', K.callback_busy .. lane, id)
if due_at ~= '' then
  redis.call('ZADD', due, due_at, id)
else
  redis.call('ZREM', due, id)
  redis.call('RPUSH', done, id)
  if redis.call('LLEN', done) > tonumber(most) then
    local oldest = redis.call('LPOP', done)
    redis.call('DEL', K.callback_delivery .. callback .. ':' .. oldest)
    redis.call('ZREM', log, oldest)
  end
  redis.call('PEXPIRE', done, kept)
end
redis.call('ZREMRANGEBYSCORE', log, '-inf', now - kept)

for _, name in ipairs({lane, callback}) do
  local known = K.callback_lane .. name
  redis.call('HSET', known, 'last_at', now, 'last_fault', fault)
  if fault == '' then redis.call('HDEL', known, 'failing_since') else redis.call('HSETNX', known, 'failing_since', now) end
  redis.call('PEXPIRE', known, kept)
end
if rest ~= '' then redis.call('HSET', K.callback_lane .. lane, 'rest', rest) end
plan_lane(lane)
return 'written'
