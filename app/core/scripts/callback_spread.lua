-- Takes entries that were read from their list, and puts what they come to into the lanes.
--
-- KEYS  1 the list
-- ARGV  1 entries before those that were read   2 how many were read   3 the last of them
--       4 now (ms)   5 ms for which deliveries are kept   6 how many of them may wait in a lane
--       then for each delivery: lane, callback, id, number of fields, fields and values
-- Returns 'stale' where somebody else has taken the entries, or how many were left out.
local before, read, last, now, kept, most = unpack(ARGV)
before, read, kept = tonumber(before), tonumber(read), tonumber(kept)
if redis.call('LINDEX', KEYS[1], before + read - 1) ~= last then return 'stale' end

local left_out, lanes, at = 0, {}, 7
while at <= #ARGV do
  local lane, callback, id, fields = unpack(ARGV, at, at + 3)
  local due, log = K.callback_due .. lane, K.callback_log .. callback
  local record = K.callback_delivery .. callback .. ':' .. id
  if redis.call('ZCARD', due) >= tonumber(most) then
    redis.call('HINCRBY', K.callback_lane .. callback, 'left_out', 1)
    redis.call('PEXPIRE', K.callback_lane .. callback, kept)
    left_out = left_out + 1
  else
    redis.call('HSET', record, unpack(ARGV, at + 4, at + 3 + 2 * fields))
    redis.call('PEXPIRE', record, kept)
    redis.call('ZADD', due, now, id)
    redis.call('PEXPIRE', due, kept)
    redis.call('ZADD', log, now, id)
    redis.call('PEXPIRE', log, kept)
    lanes[lane] = true
  end
  at = at + 4 + 2 * fields
end
for lane in pairs(lanes) do plan_lane(lane) end
redis.call('LTRIM', KEYS[1], read, -1)
-- The last that was read is the one that now keeps the list.
if before > 0 then redis.call('LSET', KEYS[1], 0, '') end
return left_out
