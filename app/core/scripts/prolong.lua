-- Keeps the Idempotency-Key of a message that is to be sent later than it was.
--
-- ARGV  1 id   2 until when (ms)
-- Returns 1 if it is kept for longer now.
local key = redis.call('HGET', K.message .. ARGV[1], 'idempotency')
if not key or redis.call('EXISTS', key) == 0 then return 0 end
local time = redis.call('TIME')
local from_now = ARGV[2] - (time[1] * 1000 + math.floor(time[2] / 1000))
if from_now <= redis.call('PTTL', key) then return 0 end
return redis.call('PEXPIREAT', key, ARGV[2])
