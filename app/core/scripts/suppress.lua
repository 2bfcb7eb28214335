-- Puts addresses on the suppression list.
--
-- ARGV  for each: its member (address and reason)   its entry
for i = 1, #ARGV, 2 do
  redis.call('HSET', K.suppressions, ARGV[i], ARGV[i + 1])
  redis.call('ZADD', K.suppression_order, 0, ARGV[i])
end
return #ARGV / 2
