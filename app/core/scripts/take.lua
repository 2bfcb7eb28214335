-- Takes messages from the queue (or, by id, for a job that a stock RQ worker runs) and claims them.
--
-- ARGV  1 how many at most   2 owner   3 now (ms)   4 end of the lease (ms)   5 now as RQ writes it
--       6 seconds that RQ gives a started job   7 id of the one message to claim, or ''
-- Returns {popped, {id, record, body}, ...}: how many rings were answered, and what was claimed by them.
-- A ring whose message is gone, done or in other hands is answered by forgetting it.
though_full()
local owner, now, lease_end, iso, ttl = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local by_ring = ARGV[7] == ''
local ids = {ARGV[7]}
if by_ring then ids = redis.call('LPOP', K.rq_queue .. Q.name, ARGV[1]) or {} end

local answer = {#ids}
for _, id in ipairs(ids) do
  local record = K.message .. id
  local known = redis.call('HMGET', record, 'state', 'key')
  if known[1] == 'queued' then
    local fence = redis.call('HINCRBY', record, 'fence', 1)
    redis.call('HINCRBY', record, 'version', 1)
    redis.call('HSET', record, 'state', 'sending', 'owner', owner, 'updated', now,
      'execution', by_ring and fence or '')
    file(id, known[2], 'queued', 'sending')
    redis.call('ZREM', K.queued, id)
    redis.call('ZADD', K.leased, lease_end, id)
    if by_ring then rq_begin(id, fence, owner, now, iso, ttl) end
    answer[#answer + 1] = {id, redis.call('HGETALL', record), redis.call('GET', K.body .. id)}
  elseif by_ring and known[1] ~= 'sending' then
    redis.call('DEL', K.rq_job .. id)
  end
end
return answer
