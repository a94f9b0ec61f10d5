-- Provider ids whose statuses match no message and that were not looked for elsewhere, the oldest first.
-- before, most. Answers id, when it came, channel.
local found = {}
local asks = call('ZRANGEBYSCORE', P .. 'ask', '-inf', '(' .. ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for at = 1, #asks, 2 do
  local first = call('LINDEX', P .. 'e:' .. asks[at], 0)
  local channel = first and select(5, split_event(first))
  if channel then
    found[#found + 1] = { asks[at], asks[at + 1], channel }
  else
    -- Gone, or nobody can say whose: it would stand in the way of all others.
    call('ZREM', P .. 'ask', asks[at])
  end
end
return found
