-- Takes addresses off the suppression list.
--
-- ARGV  for each: its member (address and reason)   the entry that it must still have, or '' for any
-- Returns how many were there.
though_full()
local removed = 0
for i = 1, #ARGV, 2 do
  if ARGV[i + 1] == '' or redis.call('HGET', K.suppressions, ARGV[i]) == ARGV[i + 1] then
    removed = removed + redis.call('HDEL', K.suppressions, ARGV[i])
    redis.call('ZREM', K.suppression_order, ARGV[i])
  end
end
return removed
