-- A roll call is over: the server it was for, when it began, and how many messages an operator is to decide about;
-- work is handed out where that is none. Answers whether it was this one's.
local run, began, waiting = ARGV[1], ARGV[2], ARGV[3]
local roll = P .. 'roll'
if run_id() ~= run or call('GET', P .. 'gate') ~= 'roll:' .. run then return 0 end
if call('HGET', roll, 'began') ~= began then return 0 end
if waiting ~= '0' then
  call('HSET', roll, 'stage', 'held', 'held', whole(redis_ms()), 'waiting', waiting)
else
  call('SET', P .. 'gate', run)
  call('SET', P .. 'lately', 1, 'PX', LATELY)
  call('DEL', roll)
end
return 1
