-- Takes due callbacks of a lane; they stay taken until they are settled or the lease is over.
-- replica, claim, lane, channel, now, most. Answers nothing without a lease.
local replica, claim, lane, channel, now, most = unpack(ARGV)
if not may_take(replica) then return false end
local ready = P .. 'cr:' .. lane .. ':' .. channel
local taken = {}
for _, cid in ipairs(call('ZRANGEBYSCORE', ready, '-inf', now, 'LIMIT', 0, most)) do
  call('ZREM', ready, cid)
  call('HSET', P .. 'ct:' .. replica, cid, claim .. '|' .. lane .. '|' .. channel)
  -- One that is gone cannot be read, and becomes a dead letter as such.
  taken[#taken + 1] = { cid, text_at(P .. 'c:' .. cid) }
end
return taken
