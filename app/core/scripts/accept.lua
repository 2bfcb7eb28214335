-- Accepts messages, with their jobs and the Idempotency-Key, in one step.
--
-- KEYS  1 the idempotency key's hash, or '' for none
-- ARGV  1 fingerprint of the request   2 when the idempotency key goes (ms)   3 now as RQ writes it
--       4 API key's name   5 number of messages   6 how many unfinished ones there may be then, or ''
--       7 what else is written with it: see also() in common.lua   8 what else the answer says
--       9 how many members of the suppressions may not be there, and these
--       then for each: id, state, priority, body, attachments or '', when it is due (ms) or '',
--       number of fields, fields and values
-- Returns {'accepted', what failed of the rest}, or {'replayed', rest of the answer, id, ...} for the same request, or {'mismatch'}
-- for another one, or {'full'}, or {'listed'}.
local position = 9 + ARGV[9]
local function next_argument()
  position = position + 1
  return ARGV[position]
end

if KEYS[1] ~= '' then
  local known = redis.call('HMGET', KEYS[1], 'fingerprint', 'ids', 'answer')
  if known[1] then
    if known[1] ~= ARGV[1] then return {'mismatch'} end
    -- A write that changes nothing, so that a WAIT after it is one for the first answer's writes too.
    redis.call('PEXPIRE', KEYS[1], redis.call('PTTL', KEYS[1]))
    local answer = {'replayed', known[3] or ''}
    for id in string.gmatch(known[2], '[^ ]+') do answer[#answer + 1] = id end
    return answer
  end
end

-- Only asked for the answer to an earlier request.
if ARGV[5] == '0' then return {'none'} end

if ARGV[6] ~= '' then
  local unfinished = tonumber(ARGV[5])
  for _, list in ipairs({K.waiting, K.waiting_high, K.waiting_bulk, K.queued, K.leased}) do
    unfinished = unfinished + redis.call('ZCARD', list)
  end
  if unfinished > tonumber(ARGV[6]) then return {'full'} end
end

local MOST_AT_ONCE = 1000
for first = 10, position, MOST_AT_ONCE do
  local last = math.min(first + MOST_AT_ONCE - 1, position)
  for _, entry in ipairs(redis.call('HMGET', K.suppressions, unpack(ARGV, first, last))) do
    if entry then return {'listed'} end
  end
end

local ids = {}
for i = 1, tonumber(ARGV[5]) do
  local id, state, priority = next_argument(), next_argument(), next_argument()
  local body, attachments, due = next_argument(), next_argument(), next_argument()
  local fields = {}
  for f = 1, tonumber(next_argument()) * 2 do fields[f] = next_argument() end
  redis.call('HSET', K.message .. id, unpack(fields))
  redis.call('SET', K.body .. id, body)
  if attachments ~= '' then redis.call('SET', K.attachments .. id, attachments) end
  redis.call('ZADD', K.messages .. ARGV[4], 0, id)
  file(id, ARGV[4], nil, state)
  if state == 'suppressed' then
    -- It has ended before it began: what that takes is among what else is written.
  elseif due == '' then
    ring(id, ARGV[3], priority)
  else
    later('ZADD', WAITING[priority], due, id)
    if KEYS[1] ~= '' then redis.call('HSET', K.message .. id, 'idempotency', KEYS[1]) end
  end
  ids[i] = id
end
if KEYS[1] ~= '' then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'ids', table.concat(ids, ' '), 'answer', ARGV[8])
  redis.call('PEXPIREAT', KEYS[1], ARGV[2])
end
local failed = also(ARGV[7])
return {'accepted', failed .. write_lists()}
