-- Rings again for queued messages whose job is gone.
--
-- Each queue is in the order of its rings' numbers: what is older than the ring at its head and not
-- claimed has lost its job; where the queue is empty, all that is queued in it has.
--
-- ARGV  1 how many at most   2 now as RQ writes it
-- Returns the ids.
though_full()

-- The number below which there are rings without a job; nil if that cannot be told.
local function bound(priority)
  local heads = redis.call('LRANGE', K.rq_queue .. Q[priority], 0, 63)
  local first, last = FIRST_RING[priority], FIRST_RING[priority] + RINGS
  if #heads == 0 then return last end
  local least
  for _, id in ipairs(heads) do
    local number = tonumber(redis.call('ZSCORE', K.queued, id) or nil)
    if number and number >= first and number < last and (not least or number < least) then
      least = number
    end
  end
  return least
end

local lost = {}
for _, priority in ipairs(PRIORITIES) do
  local below = bound(priority)
  if below then
    local ids = redis.call('ZRANGEBYSCORE', K.queued, string.format('%.0f', FIRST_RING[priority]),
      '(' .. string.format('%.0f', below), 'LIMIT', 0, ARGV[1] - #lost)
    for _, id in ipairs(ids) do
      ring(id, ARGV[2], priority)
      lost[#lost + 1] = id
    end
  end
end
write_lists()
return lost
