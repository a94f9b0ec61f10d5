-- Queued, attempting and unknown messages, counted where they stand. Channels.
local queued, attempting = 0, 0
for _, channel in ipairs(ARGV) do
  queued = queued + call('ZCARD', P .. 'q:' .. channel) + call('ZCARD', P .. 'rq:' .. channel)
    + call('ZCARD', P .. 'aq:' .. channel)
end
for _, replica in ipairs(call('ZRANGE', P .. 'replicas', 0, -1)) do
  attempting = attempting + call('HLEN', P .. 'att:' .. replica)
end
return { queued, attempting, call('ZCARD', P .. 'u') }
