-- Registers a callback of an API key, changes it, or removes it.
--
-- ARGV  1 API key   2 id   3 its text as it was seen, or '' for none   4 its text, or '' to remove it
--       5 how many of a key there may be, but for its default one
-- Returns 'written', 'stale' where it is not as it was seen, 'full', 'removed', or 'gone'.
local key, id, seen, text = unpack(ARGV)
local all, feed, lane = K.callbacks .. key, K.callback_feed .. key, key .. ':' .. id
local known = redis.call('HGET', all, id)
local function count() return redis.call('HLEN', all) - redis.call('HEXISTS', all, 'default') end

if text == '' then
  if not known then return 'gone' end
  redis.call('HDEL', all, id)
  redis.call('UNLINK', K.callback_due .. lane, K.callback_busy .. lane, K.callback_log .. lane,
    K.callback_done .. lane, K.callback_lane .. lane)
  plan_lane(lane)
  if count() == 0 then
    redis.call('DEL', feed)
    redis.call('SREM', K.callback_keys, key)
  end
  return 'removed'
end

if (known or '') ~= seen then return 'stale' end
if id ~= 'default' then
  if not known and count() >= tonumber(ARGV[5]) then return 'full' end
  -- Only a list that exists is pushed to: its first entry, which tells nothing, keeps it.
  redis.call('SADD', K.callback_keys, key)
  if redis.call('EXISTS', feed) == 0 then redis.call('RPUSH', feed, '') end
end
redis.call('HSET', all, id, text)
-- What has waited while it was disabled has its turn.
plan_lane(lane)
return 'written'
