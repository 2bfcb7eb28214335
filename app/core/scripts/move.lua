-- Moves messages, each by itself: if it is still as its mover saw it.
--
-- ARGV  for each, one after the other:
--       1 id   2 the version that was seen   3 a token of this move   4 now (ms)   5 now as RQ writes it
--       6 new end of a lease (ms) that must still hold, 'over' if nobody's may, or ''
--       7 '1' to ring   8 'drop' or 'keep' the body, 'need' it to be there, or keep it so long at most (ms)
--       9 the number of pieces of evidence that was seen
--       10 milliseconds to keep an ended message, or '' for one that has not ended
--       11 who must have the message in hand, or ''
--       12 its state afterwards   13 when it is due (ms), or ''
--       14 number of fields to write   15 number of fields to delete
--       16 what else is written with it: see also() in common.lua
--       then the fields and values to write, and the fields to delete
-- Returns for each 'stale', 'gone', 'failed' with the error, or 'moved' (also when the same move is repeated), followed by what failed of the rest,
-- 'stale' or 'gone'.
though_full()

local function move(at)
  local id, version, token, now, iso, lease, rings, body, evidence, keep, owner, state, due =
    unpack(ARGV, at + 1, at + 13)
  local record = K.message .. id
  local seen = redis.call('HMGET', record, 'version', 'state', 'key', 'owner', 'execution', 'token',
    'evidence', 'priority')
  if not seen[1] then return 'gone' end
  if seen[6] == token then
    -- Written again, so that a WAIT after it is one for the move.
    redis.call('HSET', record, 'token', token)
    return 'moved'
  end
  if seen[1] ~= version or (seen[7] or '0') ~= evidence then return 'stale' end
  -- A version says who wrote it only as long as none is forgotten, as a failover may do.
  if owner ~= '' and seen[4] ~= owner then return 'stale' end
  if body == 'need' and redis.call('EXISTS', K.body .. id) == 0 then return 'stale' end
  if lease == 'over' then
    local lease_end = redis.call('ZSCORE', K.leased, id)
    if lease_end and tonumber(lease_end) > tonumber(now) then return 'stale' end
  elseif lease ~= '' then
    local lease_end = redis.call('ZSCORE', K.leased, id)
    if not lease_end or tonumber(lease_end) <= tonumber(now) then return 'stale' end
    redis.call('ZADD', K.leased, 'GT', lease, id)
  end

  local first, written, deleted = at + 17, 2 * ARGV[at + 14], tonumber(ARGV[at + 15])
  redis.call('HSET', record, 'version', version + 1, 'token', token,
    unpack(ARGV, first, first + written - 1))
  if deleted > 0 then
    redis.call('HDEL', record, unpack(ARGV, first + written, first + written + deleted - 1))
  end
  local answer = 'moved' .. also(ARGV[at + 16])
  -- Who has it in hand keeps it, and it stands in no other list.
  if seen[2] == 'sending' and state == 'sending' then return answer end

  file(id, seen[3], seen[2], state)
  local waits = WAITING[seen[8] or 'normal']
  if due ~= '' then later('ZADD', waits, due, id) else later('ZREM', waits, id) end
  if seen[2] == 'sending' then
    later('ZREM', K.leased, id)
    if seen[5] and seen[5] ~= '' then rq_end(id, seen[8] or 'normal', seen[5], seen[4]) end
  end
  if rings == '1' then
    ring(id, iso)
  elseif seen[2] == 'queued' then
    later('ZREM', K.queued, id)
    redis.call('DEL', K.rq_job .. id)
  end

  if body == 'drop' then redis.call('DEL', K.body .. id, K.attachments .. id) end
  if keep ~= '' then
    later('ZADD', K.ended, now + keep, id)
    -- A little longer than the sweeper needs, which takes the record out of its lists.
    local expiry = keep + Q.purge_slack
    redis.call('PEXPIRE', record, expiry)
    redis.call('PEXPIRE', K.body .. id, expiry)
    redis.call('PEXPIRE', K.attachments .. id, expiry)
    redis.call('PEXPIRE', K.timeline .. id, expiry)
  elseif redis.call('ZREM', K.ended, id) == 1 then
    redis.call('PERSIST', record)
    redis.call('PERSIST', K.body .. id)
    redis.call('PERSIST', K.attachments .. id)
    redis.call('PERSIST', K.timeline .. id)
  end
  local lasts = tonumber(body)
  if lasts then
    if keep ~= '' then lasts = math.min(lasts, keep + Q.purge_slack) end
    redis.call('PEXPIRE', K.body .. id, lasts)
    redis.call('PEXPIRE', K.attachments .. id, lasts)
  end
  return answer
end

local answers, at = {}, 0
while at < #ARGV do
  -- What is wrong with one of them is no concern of the others.
  local done, answer = pcall(move, at)
  answers[#answers + 1] = done and answer or 'failed ' .. (type(answer) == 'table' and answer.err or tostring(answer))
  at = at + 16 + 2 * ARGV[at + 14] + ARGV[at + 15]
end
local failed = write_lists()
for place, answer in ipairs(answers) do
  if failed ~= '' and string.sub(answer, 1, 5) == 'moved' then
    answers[place], failed = answer .. failed, ''
  end
end
return answers
