-- Reads what is to be told, and leaves it where it is: see callback_spread.
--
-- ARGV  1 who reads   2 ms for which nobody else does   3 how many entries at most of each list
-- Returns the API keys that have callbacks, and for each list that has entries: the list, the number of
-- entries before those that are new, and these.
though_full()
local found = {}
local function look(list, before)
  if redis.call('LLEN', list) <= before then return end
  local entries = redis.call('LRANGE', list, before, before + ARGV[3] - 1)
  found[#found + 1] = {list, before, entries}
end

local keys = redis.call('SMEMBERS', K.callback_keys)
local reader = redis.call('GET', K.callback_reader)
if reader and reader ~= ARGV[1] then return {keys, found} end
look(K.callback_direct, 0)
for _, key in ipairs(keys) do look(K.callback_feed .. key, 1) end
if #found > 0 then redis.call('SET', K.callback_reader, ARGV[1], 'PX', ARGV[2]) end
return {keys, found}
