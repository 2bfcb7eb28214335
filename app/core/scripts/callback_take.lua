-- Takes callbacks that are due; whoever does not finish with them in time leaves them to others.
--
-- ARGV  1 now (ms)   2 until when they are the taker's (ms)   3 how many at most
--       4 how many at most for lanes whose last one failed   5 how many of a lane at once
--       6 how many of a lane whose last one failed
-- Returns for each: its lane, its id, '1' if the lane's last one failed, the callback, fields and values.
though_full()
local MOST_LANES = 64
local now, lease_end, found = tonumber(ARGV[1]), tonumber(ARGV[2]), {}

local function take(lane, failing, count, limit)
  local key, endpoint = string.match(lane, '^([^:]+):([^:]+)')
  local due, busy = K.callback_due .. lane, K.callback_busy .. lane
  local callback = redis.call('HGET', K.callbacks .. key, endpoint)
  redis.call('ZREMRANGEBYSCORE', busy, '-inf', now)
  local free = math.min(count, limit - redis.call('ZCARD', busy))
  local taken = 0
  if free > 0 then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, free)) do
      local record = redis.call('HGETALL', K.callback_delivery .. key .. ':' .. endpoint .. ':' .. id)
      if #record == 0 then
        redis.call('ZREM', due, id)
      else
        redis.call('ZADD', due, lease_end, id)
        redis.call('ZADD', busy, lease_end, id)
        found[#found + 1] = {lane, id, failing, callback, record}
        taken = taken + 1
      end
    end
  end
  plan_lane(lane)
  if redis.call('ZCARD', busy) > 0 then
    redis.call('PEXPIRE', busy, math.max(lease_end - now, 1))
    if redis.call('ZCARD', busy) >= limit then
      -- The first of them that is done has the lane looked at again.
      local first = redis.call('ZRANGE', busy, 0, 0, 'WITHSCORES')
      redis.call('ZADD', failing == '1' and K.callback_failing_lanes or K.callback_lanes, 'GT', first[2], lane)
    end
  end
  return taken
end

local function take_from(list, failing, count, limit)
  local taken = 0
  for _, lane in ipairs(redis.call('ZRANGEBYSCORE', list, '-inf', now, 'LIMIT', 0, MOST_LANES)) do
    if taken >= count then break end
    local key, endpoint = string.match(lane, '^([^:]+):([^:]+)')
    local callback = redis.call('HGET', K.callbacks .. key, endpoint)
    if callback and cjson.decode(callback).enabled then
      taken = taken + take(lane, failing, count - taken, limit)
    else
      redis.call('ZREM', list, lane)
    end
  end
  return taken
end

local room = tonumber(ARGV[3])
room = room - take_from(K.callback_lanes, '0', room, tonumber(ARGV[5]))
take_from(K.callback_failing_lanes, '1', math.min(room, tonumber(ARGV[4])), tonumber(ARGV[6]))
return found
