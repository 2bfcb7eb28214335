-- Takes messages from the queues (or, by id, for a job that a stock RQ worker runs) and claims them.
--
-- ARGV  1 how many at most   2 owner   3 now (ms)   4 end of the lease (ms)   5 now as RQ writes it
--       6 seconds that RQ gives a started job   7 id of the one message to claim, or ''
--       8 how many of them may be normal or bulk   9 how many may be bulk
-- Returns {popped, {id, record, body}, ...}: how many rings were answered, and what was claimed by them.
-- A ring whose message is gone, done or in other hands is answered by forgetting it.
though_full()
local owner, now, lease_end, iso, ttl = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local by_ring = ARGV[7] == ''

-- Where the queues have to share, high comes before normal before bulk, but of sixteen turns three
-- belong to normal and one to bulk first, so that none is kept waiting for ever.
local NORMAL_FIRST, BULK_FIRST = {'normal', 'high', 'bulk'}, {'bulk', 'high', 'normal'}
local function order(turn)
  if turn % 16 == 0 then return BULK_FIRST end
  return turn % 4 == 0 and NORMAL_FIRST or PRIORITIES
end

-- How many rings to take from each queue.
local function shares(most, lower, bulk)
  local left, waiting, queues = {}, 0, 0
  for _, priority in ipairs(PRIORITIES) do
    left[priority] = redis.call('LLEN', K.rq_queue .. Q[priority])
    waiting = waiting + left[priority]
    if left[priority] > 0 then queues = queues + 1 end
  end
  if waiting == 0 then redis.call('DEL', K.bell) end
  local shared = queues > 1 and waiting > most
  local turn = shared and tonumber(redis.call('GET', K.turns) or 0) or 0
  left.normal, left.bulk = math.min(left.normal, lower), math.min(left.bulk, bulk)
  local taken, places = {high = 0, normal = 0, bulk = 0}, 0
  local function take_one()
    for _, priority in ipairs(shared and order(turn + places + 1) or PRIORITIES) do
      local allowed = priority == 'high' or taken.normal + taken.bulk < lower
      if allowed and left[priority] > 0 then
        left[priority], taken[priority] = left[priority] - 1, taken[priority] + 1
        return true
      end
    end
  end
  while places < most and take_one() do places = places + 1 end
  if shared and places > 0 then redis.call('INCRBY', K.turns, places) end
  return taken
end

local ids = {ARGV[7]}
if by_ring then
  ids = {}
  local taken = shares(tonumber(ARGV[1]), tonumber(ARGV[8]), tonumber(ARGV[9]))
  for _, priority in ipairs(PRIORITIES) do
    if taken[priority] > 0 then
      for _, id in ipairs(redis.call('LPOP', K.rq_queue .. Q[priority], taken[priority])) do
        ids[#ids + 1] = id
      end
    end
  end
end

local function fields_of(record)
  local texts, fields = redis.call('HGETALL', record), {}
  for i = 1, #texts, 2 do fields[texts[i]] = texts[i + 1] end
  return texts, fields
end

local answer = {#ids}
for _, id in ipairs(ids) do
  local record = K.message .. id
  local texts, known = fields_of(record)
  if known.state == 'queued' then
    local fence = (known.fence or 0) + 1
    local claim = {'state', 'sending', 'owner', owner, 'updated', ARGV[3], 'fence', tostring(fence),
      'version', tostring(known.version + 1), 'execution', by_ring and tostring(fence) or ''}
    redis.call('HSET', record, unpack(claim))
    file(id, known.key, 'queued', 'sending')
    later('ZREM', K.queued, id)
    later('ZADD', K.leased, lease_end, id)
    if by_ring then rq_begin(id, known.priority or 'normal', fence, owner, now, iso, ttl) end
    -- Of a field that stands there twice, the second counts.
    for _, text in ipairs(claim) do texts[#texts + 1] = text end
    answer[#answer + 1] = {id, texts, redis.call('GET', K.body .. id)}
  elseif by_ring and known.state ~= 'sending' then
    redis.call('DEL', K.rq_job .. id)
  end
end
write_lists()
if by_ring and #answer > 1 then redis.call('EXPIRE', K.rq_worker .. owner .. ':executions', ttl + 60) end
return answer
