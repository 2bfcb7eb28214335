-- Forgets an event that needs no more work; the first who does so writes what belongs to that.
--
-- ARGV  for each: the event, what else is written with it (see also() in common.lua)
-- Returns what failed of the latter, or ''.
though_full()
local failed = ''
for i = 1, #ARGV, 2 do
  if redis.call('ZREM', K.events, ARGV[i]) == 1 then failed = failed .. also(ARGV[i + 1]) end
end
write_lists()
return failed
