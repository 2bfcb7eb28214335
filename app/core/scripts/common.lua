-- What the scripts share. Put before each of them, after the table K of key names (see app/core/keys).
-- Scripts compare, move and write; what is to be written has been decided in Python.

-- Lets the script write though memory is full, as what it does lets mail leave: the server looks at its
-- memory only before the first write of a script, and only if that one could need some.
local function though_full() redis.call('DEL', K.nothing) end

-- Files the message under its state, in the lists of the API key that it came with.
local function file(id, key, old, new)
  if old == new then return end
  if old then redis.call('ZREM', K.messages .. key .. ':' .. old, id) end
  redis.call('ZADD', K.messages .. key .. ':' .. new, 0, id)
end

-- Writes RQ's job for the message and pushes it. The job's id is the message's: an extra ring finds the
-- message in other hands and does nothing. `iso` is the time as RQ writes it.
local function ring(id, iso)
  redis.call('ZADD', K.queued, redis.call('INCR', K.ring), id)
  redis.call('HSET', K.rq_job .. id,
    'created_at', iso, 'enqueued_at', iso, 'origin', Q.name, 'status', 'queued',
    'data', '["' .. Q.job .. '", null, ["' .. id .. '"], {}]',
    'description', Q.job .. '(' .. id .. ')',
    'timeout', Q.timeout, 'result_ttl', 0, 'failure_ttl', Q.failure_ttl)
  redis.call('SADD', K.rq_queues, K.rq_queue .. Q.name)
  redis.call('RPUSH', K.rq_queue .. Q.name, id)
end

-- Tells RQ's registries that the worker has begun with the job.
local function rq_begin(id, execution, worker, now, iso, ttl)
  local member = id .. ':' .. execution
  local seconds = now / 1000
  redis.call('HSET', K.rq_job .. id, 'status', 'started', 'started_at', iso, 'last_heartbeat', iso,
    'worker_name', worker)
  redis.call('HSET', K.rq_execution .. member, 'id', execution, 'job_id', id,
    'created_at', seconds, 'last_heartbeat', seconds, 'worker_name', worker)
  redis.call('EXPIRE', K.rq_execution .. member, ttl)
  redis.call('ZADD', K.rq_executions .. id, seconds + ttl + 60, execution)
  redis.call('EXPIRE', K.rq_executions .. id, ttl + 60)
  redis.call('ZADD', K.rq_started .. Q.name, seconds + ttl, member)
  redis.call('SADD', K.rq_worker .. worker .. ':executions', member)
  redis.call('EXPIRE', K.rq_worker .. worker .. ':executions', ttl + 60)
end

-- Tells RQ's registries that the worker has done with the job, and forgets it.
local function rq_end(id, execution, worker)
  local member = id .. ':' .. execution
  redis.call('DEL', K.rq_job .. id, K.rq_execution .. member, K.rq_executions .. id)
  redis.call('ZREM', K.rq_started .. Q.name, member)
  redis.call('ZREM', K.rq_failed .. Q.name, id)
  redis.call('SREM', K.rq_worker .. worker .. ':executions', member)
end
