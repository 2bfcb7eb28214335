-- What the scripts share. Put before each of them, after the table K of key names (see app/core/keys).
-- Scripts compare, move and write; what is to be written has been decided in Python.

-- Lets the script write though memory is full, as what it does lets mail leave: the server looks at its
-- memory only before the first write of a script, and only if that one could need some.
local function though_full() redis.call('DEL', K.nothing) end

-- Lists that many messages of a step enter or leave are written at its end, each once for all of them.
-- A script that uses `later`, or what does here, ends with `write_lists`, which returns what failed of
-- what is counted, or ''.
local lists, MOST_PARTS = {}, 1000
local sums, expiries = {}, {}
local last_ring

local function write_lists()
  if last_ring then redis.call('SET', K.ring, string.format('%.0f', last_ring)) end
  local failed = ''
  for key, fields in pairs(sums) do
    for field, number in pairs(fields) do
      local answer = number ~= 0 and redis.pcall('HINCRBY', key, field, number)
      if type(answer) == 'table' then failed = failed .. '; HINCRBY: ' .. tostring(answer.err) end
    end
  end
  for key, milliseconds in pairs(expiries) do redis.pcall('PEXPIRE', key, milliseconds) end
  for _, list in pairs(lists) do redis.call(unpack(list)) end
  lists = {}
  return failed
end

local function later(command, key, part, another)
  local name = command .. key
  local list = lists[name]
  if not list then
    list = {command, key}
    lists[name] = list
  end
  local length = #list + 1
  list[length] = part
  if another then
    length = length + 1
    list[length] = another
  end
  -- Lua takes no more than a few thousand arguments at once.
  if length > MOST_PARTS then
    redis.call(unpack(list))
    lists[name] = nil
  end
end

-- Files the message under its state, in the lists of the API key that it came with.
local function file(id, key, old, new)
  if old == new then return end
  if old then later('ZREM', K.messages .. key .. ':' .. old, id) end
  later('ZADD', K.messages .. key .. ':' .. new, 0, id)
end

-- The priorities, in the order in which their queues are served, and where the numbers of the rings of
-- each queue begin in the one list of what is queued.
local PRIORITIES = {'high', 'normal', 'bulk'}
local RINGS = 2 ^ 50
local FIRST_RING = {normal = 0, high = RINGS, bulk = 2 * RINGS}

-- Where those of each priority wait for their time.
local WAITING = {high = K.waiting_high, normal = K.waiting, bulk = K.waiting_bulk}

local function priority_of(id) return redis.call('HGET', K.message .. id, 'priority') or 'normal' end

local rung = {}
local TIMEOUT, FAILURE_TTL = tostring(Q.timeout), tostring(Q.failure_ttl)

-- Writes RQ's job for the message and pushes it. The job's id is the message's: an extra ring finds the
-- message in other hands and does nothing. `iso` is the time as RQ writes it; the priority is looked up
-- where it is not given.
local function ring(id, iso, priority)
  priority = priority or priority_of(id)
  local name = Q[priority]
  last_ring = (last_ring or tonumber(redis.call('GET', K.ring) or 0)) + 1
  later('ZADD', K.queued, string.format('%.0f', FIRST_RING[priority] + last_ring), id)
  redis.call('HSET', K.rq_job .. id,
    'created_at', iso, 'enqueued_at', iso, 'origin', name, 'status', 'queued',
    'data', '["' .. Q.job .. '", null, ["' .. id .. '"], {}]',
    'description', Q.job .. '(' .. id .. ')',
    'timeout', TIMEOUT, 'result_ttl', '0', 'failure_ttl', FAILURE_TTL)
  later('RPUSH', K.rq_queue .. name, id)
  if rung[name] then return end
  rung[name] = true
  redis.call('SADD', K.rq_queues, K.rq_queue .. name)
  if redis.call('EXISTS', K.bell) == 0 then redis.call('RPUSH', K.bell, 1) end
end

-- Tells RQ's registries that the worker has begun with the job.
local function rq_begin(id, priority, execution, worker, now, iso, ttl)
  local member = id .. ':' .. execution
  local seconds = now / 1000
  redis.call('HSET', K.rq_job .. id, 'status', 'started', 'started_at', iso, 'last_heartbeat', iso,
    'worker_name', worker)
  redis.call('HSET', K.rq_execution .. member, 'id', execution, 'job_id', id,
    'created_at', seconds, 'last_heartbeat', seconds, 'worker_name', worker)
  redis.call('EXPIRE', K.rq_execution .. member, ttl)
  redis.call('ZADD', K.rq_executions .. id, seconds + ttl + 60, execution)
  redis.call('EXPIRE', K.rq_executions .. id, ttl + 60)
  later('ZADD', K.rq_started .. Q[priority], seconds + ttl, member)
  later('SADD', K.rq_worker .. worker .. ':executions', member)
end

-- Tells RQ's registries that the worker has done with the job, and forgets it.
local function rq_end(id, priority, execution, worker)
  local member, name = id .. ':' .. execution, Q[priority]
  redis.call('DEL', K.rq_job .. id, K.rq_execution .. member, K.rq_executions .. id)
  later('ZREM', K.rq_started .. name, member)
  later('ZREM', K.rq_failed .. name, id)
  later('SREM', K.rq_worker .. worker .. ':executions', member)
end

-- Does what else is to be written in the step: '' or a JSON list of commands, each a list of texts. The
-- step cannot be taken back, so that a command that fails is left out. Returns what failed, or ''.
local function also(commands)
  local failed = ''
  if commands == '' then return failed end
  for _, command in ipairs(cjson.decode(commands)) do
    local name, key, field, number = unpack(command)
    if name == 'HINCRBY' then
      -- Many of a step count in the same field.
      local fields = sums[key] or {}
      fields[field] = (fields[field] or 0) + number
      sums[key] = fields
    elseif name == 'PEXPIRE' then
      -- What is counted in is there only at the end.
      expiries[key] = field
    else
      local answer = redis.pcall(unpack(command))
      if type(answer) == 'table' and answer.err then failed = failed .. '; ' .. name .. ': ' .. tostring(answer.err) end
    end
  end
  return failed
end

-- Says when the callbacks of a lane are to be looked at: when the first of them is due, and the lane does
-- not rest. Lanes whose last callback failed stand in a list of their own.
local function plan_lane(lane)
  local failing, rest = unpack(redis.call('HMGET', K.callback_lane .. lane, 'failing_since', 'rest'))
  local list, other = K.callback_lanes, K.callback_failing_lanes
  if failing then list, other = other, list end
  redis.call('ZREM', other, lane)
  local first = redis.call('ZRANGE', K.callback_due .. lane, 0, 0, 'WITHSCORES')
  if not first[1] then
    redis.call('ZREM', list, lane)
  else
    local at = math.max(tonumber(first[2]), tonumber(rest or 0))
    redis.call('ZADD', list, string.format('%.0f', at), lane)
  end
end
