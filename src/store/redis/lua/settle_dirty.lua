-- Ends tries to write a record elsewhere. now, then message, version, due (nothing: it is written).
for at = 2, #ARGV, 3 do
  local id, version, due = unpack(ARGV, at, at + 2)
  if due ~= '' then
    call('ZADD', P .. 'dirty', 'XX', due, id)
  elseif fields(id, 'vr')[1] == version then
    call('ZREM', P .. 'dirty', id)
  else
    -- It changed meanwhile.
    call('ZADD', P .. 'dirty', 'XX', ARGV[1], id)
  end
end
return 0
