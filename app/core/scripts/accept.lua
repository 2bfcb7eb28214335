-- Accepts messages, with their jobs and the Idempotency-Key, in one step.
--
-- KEYS  1 the idempotency key's hash, or '' for none
-- ARGV  1 fingerprint of the request   2 when the idempotency key goes (ms)   3 now as RQ writes it
--       4 API key's name   5 number of messages   6 how many unfinished ones there may be then, or ''
--       then for each: id, state, body, when it is due (ms) or '', number of fields, fields and values
-- Returns {'accepted'}, or {'replayed', id, ...} for the same request, or {'mismatch'} for another one, or
-- {'full'}.
local position = 6
local function next_argument()
  position = position + 1
  return ARGV[position]
end

if KEYS[1] ~= '' then
  local known = redis.call('HMGET', KEYS[1], 'fingerprint', 'ids')
  if known[1] then
    if known[1] ~= ARGV[1] then return {'mismatch'} end
    -- A write that changes nothing, so that a WAIT after it is one for the first answer's writes too.
    redis.call('PEXPIRE', KEYS[1], redis.call('PTTL', KEYS[1]))
    local answer = {'replayed'}
    for id in string.gmatch(known[2], '[^ ]+') do answer[#answer + 1] = id end
    return answer
  end
end

if ARGV[6] ~= '' then
  local unfinished = tonumber(ARGV[5])
  for _, list in ipairs({K.waiting, K.queued, K.leased}) do
    unfinished = unfinished + redis.call('ZCARD', list)
  end
  if unfinished > tonumber(ARGV[6]) then return {'full'} end
end

local ids = {}
for i = 1, tonumber(ARGV[5]) do
  local id, state, body, due = next_argument(), next_argument(), next_argument(), next_argument()
  local fields = {}
  for f = 1, tonumber(next_argument()) * 2 do fields[f] = next_argument() end
  redis.call('HSET', K.message .. id, unpack(fields))
  redis.call('SET', K.body .. id, body)
  redis.call('ZADD', K.messages .. ARGV[4], 0, id)
  file(id, ARGV[4], nil, state)
  if due == '' then ring(id, ARGV[3]) else redis.call('ZADD', K.waiting, due, id) end
  ids[i] = id
end
if KEYS[1] ~= '' then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'ids', table.concat(ids, ' '))
  redis.call('PEXPIREAT', KEYS[1], ARGV[2])
end
return {'accepted'}
