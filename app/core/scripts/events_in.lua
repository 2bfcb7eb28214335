-- Keeps what a provider's webhook told until a worker has applied it.
--
-- ARGV  1 provider   2 now (ms)   3 key of the request's token, or ''   4 ms for which it is remembered
--       5 how many events there may be then   6 number of kinds of events that were ignored
--       then these kinds, and the events
-- Returns 'kept', 'repeated' where the token was known, or 'full'.
local provider, now, token, ignored = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[6])
if redis.call('ZCARD', K.events) + #ARGV - 6 - ignored > tonumber(ARGV[5]) then return 'full' end
if token ~= '' and not redis.call('SET', token, 1, 'NX', 'PX', ARGV[4]) then
  redis.call('HINCRBY', K.webhooks, provider .. ' repeated', 1)
  return 'repeated'
end
redis.call('HSET', K.webhooks, provider .. ' last', now)
for i = 7, 6 + ignored do
  redis.call('HINCRBY', K.webhooks, provider .. ' ignored ' .. ARGV[i], 1)
end
for i = 7 + ignored, #ARGV do
  -- One that is being applied right now keeps its place.
  redis.call('ZADD', K.events, 'NX', now, ARGV[i])
end
if #ARGV > 6 + ignored then redis.call('HINCRBY', K.webhooks, provider .. ' events', #ARGV - 6 - ignored) end
return 'kept'
