-- Takes events whose turn it is; whoever does not finish with them in time leaves them to others.
--
-- ARGV  1 now (ms)   2 until when they are the caller's (ms)   3 how many at most
-- Returns them.
though_full()
local events = redis.call('ZRANGEBYSCORE', K.events, '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, event in ipairs(events) do redis.call('ZADD', K.events, ARGV[2], event) end
return events
