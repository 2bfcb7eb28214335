-- Writes the routes, if nobody has written them since they were read.
--
-- ARGV  1 the version that was seen, or '' for any   2 what is to be written
-- Returns the new version, or 0 where others have written.
local version = string.match(redis.call('GET', K.routes) or '0', '^%d+')
if ARGV[1] ~= '' and ARGV[1] ~= version then return 0 end
redis.call('SET', K.routes, string.format('%d', version + 1) .. ' ' .. ARGV[2])
return version + 1
