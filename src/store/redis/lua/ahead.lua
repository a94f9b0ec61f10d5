-- Queued messages that are due before a time. Channel, time.
local before = '(' .. ARGV[2]
return call('ZCOUNT', P .. 'q:' .. ARGV[1], '-inf', before) + call('ZCOUNT', P .. 'rq:' .. ARGV[1], '-inf', before)
