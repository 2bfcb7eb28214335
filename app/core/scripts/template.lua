-- Puts a new version of an API key's template, or deletes the template.
--
-- KEYS  1 the names of the key's templates   2 the template's hash
-- ARGV  1 name   2 content, or '' to delete it   3 now (ms)   4 how many templates there may be
--       5 how many versions are kept   6 how long the numbers of a deleted one go on (ms)
-- Returns {'put' or 'same', version, when it was put}, {'full'}, {'deleted'} or {'none'}.
local names, template = KEYS[1], KEYS[2]
local known = redis.call('HMGET', template, 'version', 'content', 'at')
local version, content, at = known[1], known[2], known[3]

if ARGV[2] == '' then
  if not version then return {'none'} end
  local last = redis.call('HGET', template, 'last')
  redis.call('DEL', template)
  redis.call('HSET', template, 'last', last)
  redis.call('PEXPIRE', template, ARGV[6])
  redis.call('SREM', names, ARGV[1])
  return {'deleted'}
end

if version and content == ARGV[2] then return {'same', version, at} end
if not version and redis.call('SCARD', names) >= tonumber(ARGV[4]) then return {'full'} end
if version then redis.call('HSET', template, 'content:' .. version, content, 'at:' .. version, at) end
local last = redis.call('HINCRBY', template, 'last', 1)
redis.call('HSET', template, 'version', last, 'content', ARGV[2], 'at', ARGV[3])
local old = last - tonumber(ARGV[5])
redis.call('HDEL', template, 'content:' .. old, 'at:' .. old)
redis.call('PERSIST', template)
redis.call('SADD', names, ARGV[1])
return {'put', last, ARGV[3]}
