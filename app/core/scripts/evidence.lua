-- Appends what was learnt of an attempt, whoever has the message meanwhile.
--
-- ARGV  1 id   2 the field, one for each attempt and source   3 the evidence
-- Returns 1 if it is new, 0 if there was such evidence before, -1 if the message is gone.
though_full()
local record = K.message .. ARGV[1]
if redis.call('EXISTS', record) == 0 then return -1 end
if redis.call('HSETNX', record, ARGV[2], ARGV[3]) == 0 then return 0 end
redis.call('HINCRBY', record, 'evidence', 1)
return 1
