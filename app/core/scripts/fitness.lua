-- Writes what is known of a provider, if nobody has written since it was read.
--
-- ARGV  1 provider   2 the version that was seen   3 what is to be written
-- Returns 1 if it was written.
though_full()
local seen = redis.call('HGET', K.fitness, ARGV[1])
local version = seen and string.match(seen, '^%d+') or '0'
if version ~= ARGV[2] then return 0 end
redis.call('HSET', K.fitness, ARGV[1], string.format('%d', ARGV[2] + 1) .. ' ' .. ARGV[3])
return 1
