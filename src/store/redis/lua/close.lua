-- A roll call is over: the server it was for, when it began, and 1 where work is held for an operator instead of
-- handed out. Answers whether it was this one's.
local run, began, hold = ARGV[1], ARGV[2], ARGV[3]
local roll = P .. 'roll'
if run_id() ~= run or call('GET', P .. 'gate') ~= 'roll:' .. run then return 0 end
if call('HGET', roll, 'began') ~= began then return 0 end
if hold == '1' then
  call('HSET', roll, 'stage', 'held', 'held', whole(redis_ms()))
else
  call('SET', P .. 'gate', run)
  call('DEL', roll)
end
return 1
