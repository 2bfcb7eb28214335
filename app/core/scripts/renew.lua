-- Renews leases, each if it is still the caller's.
--
-- ARGV  1 owner   2 new end of the leases (ms)   then pairs of id and fence
-- Returns the ids whose lease is lost.
though_full()
local lost = {}
for i = 3, #ARGV, 2 do
  local seen = redis.call('HMGET', K.message .. ARGV[i], 'state', 'owner', 'fence')
  if seen[1] == 'sending' and seen[2] == ARGV[1] and seen[3] == ARGV[i + 1] then
    -- A renewal that was long on its way shortens nothing.
    redis.call('ZADD', K.leased, 'GT', ARGV[2], ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
