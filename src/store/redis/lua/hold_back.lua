-- An operator knows that a copy was put back while no gateway ran: what waits in it may have been sent, and nobody
-- remembers. Nothing is handed out until they decide. The channels of the account.
-- Answers how many wait; nothing is held where none does.
local roll, here, time, waiting = P .. 'roll', run_id(), whole(redis_ms()), 0
for _, channel in ipairs(ARGV) do
  for _, queue in ipairs({ 'q:', 'rq:', 'aq:' }) do waiting = waiting + call('ZCARD', P .. queue .. channel) end
end
if waiting == 0 then return 0 end
-- All that waits now, also where it was held before: that may have been in the copy too.
call('DEL', roll)
call('HSET', roll, 'run', here, 'began', time, 'waiting', waiting, 'cut', text_at(P .. 'seq') or '0',
  'last', call('HGET', P .. 'did', '*') or '', 'seen', '', 'heard', text_at(P .. 'oseq') or '',
  'stage', 'held', 'held', time, 'l:operator', 1)
call('SET', P .. 'gate', 'roll:' .. here)
return waiting
