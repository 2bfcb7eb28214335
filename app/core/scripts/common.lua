-- What the scripts share. Put before each of them, after the table K of key names (see app/core/keys).
-- Scripts compare, move and write; what is to be written has been decided in Python.

-- Lets the script write though memory is full, as what it does lets mail leave: the server looks at its
-- memory only before the first write of a script, and only if that one could need some.
local function though_full() redis.call('DEL', K.nothing) end

-- Lists that many messages of a step enter or leave are written at its end, each once for all of them.
-- A script that uses `later`, or what does here, ends with `write_lists`.
local lists, MOST_PARTS = {}, 1000
local sums = {}

local function write_lists()
  for key, fields in pairs(sums) do
    for field, number in pairs(fields) do
      if number ~= 0 then redis.pcall('HINCRBY', key, field, number) end
    end
  end
  for _, list in pairs(lists) do redis.call(unpack(list)) end
  lists = {}
end

local function later(command, key, ...)
  local name = command .. key
  local list = lists[name] or {command, key}
  for _, part in ipairs({...}) do list[#list + 1] = part end
  lists[name] = list
  -- Lua takes no more than a few thousand arguments at once.
  if #list > MOST_PARTS then
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

local function priority_of(id) return redis.call('HGET', K.message .. id, 'priority') or 'normal' end

local rung = {}

-- Writes RQ's job for the message and pushes it. The job's id is the message's: an extra ring finds the
-- message in other hands and does nothing. `iso` is the time as RQ writes it; the priority is looked up
-- where it is not given.
local function ring(id, iso, priority)
  priority = priority or priority_of(id)
  local name = Q[priority]
  local number = FIRST_RING[priority] + redis.call('INCR', K.ring)
  redis.call('ZADD', K.queued, string.format('%.0f', number), id)
  redis.call('HSET', K.rq_job .. id,
    'created_at', iso, 'enqueued_at', iso, 'origin', name, 'status', 'queued',
    'data', '["' .. Q.job .. '", null, ["' .. id .. '"], {}]',
    'description', Q.job .. '(' .. id .. ')',
    'timeout', Q.timeout, 'result_ttl', 0, 'failure_ttl', Q.failure_ttl)
  redis.call('RPUSH', K.rq_queue .. name, id)
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
    else
      local answer = redis.pcall(unpack(command))
      if type(answer) == 'table' and answer.err then failed = failed .. '; ' .. name .. ': ' .. tostring(answer.err) end
    end
  end
  return failed
end
