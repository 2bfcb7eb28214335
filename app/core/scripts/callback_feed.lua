-- Reads what is to be told, and leaves it where it is: see callback_spread.
--
-- ARGV  1 who reads   2 ms for which nobody else does   3 how many entries at most of each list
-- Returns for each list that has some: the list, the number of entries before them, them.
though_full()
local found = {}
local function look(list, before)
  if redis.call('LLEN', list) <= before then return end
  local entries = redis.call('LRANGE', list, before, before + ARGV[3] - 1)
  found[#found + 1] = {list, before, entries}
end

local reader = redis.call('GET', K.callback_reader)
if reader and reader ~= ARGV[1] then return found end
look(K.callback_direct, 0)
for _, key in ipairs(redis.call('SMEMBERS', K.callback_keys)) do look(K.callback_feed .. key, 1) end
if #found > 0 then redis.call('SET', K.callback_reader, ARGV[1], 'PX', ARGV[2]) end
return found
