-- What waits for a later try is due now. lane, channel, now, most. Answers whether there is more.
local ready, now = P .. 'cr:' .. ARGV[1] .. ':' .. ARGV[2], ARGV[3]
local later = call('ZRANGEBYSCORE', ready, '(' .. now, '+inf', 'LIMIT', 0, ARGV[4])
for _, cid in ipairs(later) do call('ZADD', ready, now, cid) end
return #later == tonumber(ARGV[4]) and 1 or 0
