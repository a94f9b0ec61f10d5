-- A roll call is over: the server it was for, when it began. Answers whether work is handed out from now on.
local run, began = ARGV[1], ARGV[2]
if run_id() ~= run or call('GET', P .. 'gate') ~= 'roll:' .. run then return 0 end
if call('HGET', P .. 'roll', 'began') ~= began then return 0 end
call('SET', P .. 'gate', run)
call('DEL', P .. 'roll')
return 1
