-- Moves one message, if it is still as its mover saw it.
--
-- ARGV  1 id   2 the version that was seen   3 a token of this move   4 now (ms)   5 now as RQ writes it
--       6 new end of a lease (ms) that must still hold, 'over' if nobody's may, or ''
--       7 '1' to ring   8 'drop' or 'keep' the body
--       9 the number of pieces of evidence that was seen
--       10 milliseconds to keep an ended message, or '' for one that has not ended
--       11 who must have the message in hand, or ''
--       12 number of fields to write, then fields and values; the rest are fields to delete
-- Returns 'moved' (also when the same move is repeated), 'stale' or 'gone'.
though_full()
local id, now, record = ARGV[1], tonumber(ARGV[4]), K.message .. ARGV[1]
local seen = redis.call('HMGET', record, 'version', 'state', 'key', 'owner', 'execution', 'token',
  'evidence')
if not seen[1] then return 'gone' end
if seen[6] == ARGV[3] then
  -- Written again, so that a WAIT after it is one for the move.
  redis.call('HSET', record, 'token', ARGV[3])
  return 'moved'
end
if seen[1] ~= ARGV[2] or (seen[7] or '0') ~= ARGV[9] then return 'stale' end
-- A version says who wrote it only as long as none is forgotten, as a failover may do.
if ARGV[11] ~= '' and seen[4] ~= ARGV[11] then return 'stale' end
if ARGV[6] == 'over' then
  local lease_end = redis.call('ZSCORE', K.leased, id)
  if lease_end and tonumber(lease_end) > now then return 'stale' end
elseif ARGV[6] ~= '' then
  local lease_end = redis.call('ZSCORE', K.leased, id)
  if not lease_end or tonumber(lease_end) <= now then return 'stale' end
  redis.call('ZADD', K.leased, 'GT', ARGV[6], id)
end

local last = 12 + 2 * tonumber(ARGV[12])
redis.call('HSET', record, 'version', ARGV[2] + 1, 'token', ARGV[3], unpack(ARGV, 13, last))
if #ARGV > last then redis.call('HDEL', record, unpack(ARGV, last + 1)) end

local after = redis.call('HMGET', record, 'state', 'next')
file(id, seen[3], seen[2], after[1])
if after[2] then redis.call('ZADD', K.waiting, after[2], id) else redis.call('ZREM', K.waiting, id) end
if seen[2] == 'sending' and after[1] ~= 'sending' then
  redis.call('ZREM', K.leased, id)
  if seen[5] and seen[5] ~= '' then rq_end(id, seen[5], seen[4]) end
end
if ARGV[7] == '1' then
  ring(id, ARGV[5])
elseif seen[2] == 'queued' then
  redis.call('ZREM', K.queued, id)
  redis.call('DEL', K.rq_job .. id)
end

if ARGV[8] == 'drop' then redis.call('DEL', K.body .. id) end
if ARGV[10] ~= '' then
  redis.call('ZADD', K.ended, now + ARGV[10], id)
  -- A little longer than the sweeper needs, which takes the record out of its lists.
  local expiry = ARGV[10] + Q.purge_slack
  redis.call('PEXPIRE', record, expiry)
  redis.call('PEXPIRE', K.body .. id, expiry)
else
  redis.call('ZREM', K.ended, id)
  redis.call('PERSIST', record)
  redis.call('PERSIST', K.body .. id)
end
return 'moved'
