-- Takes messages whose record is to be written elsewhere; hides their marks for a while.
-- now, until when they are hidden, most. Answers as find.lua does.
local taken = {}
for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'dirty', '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  local found = describe(id)
  if found then
    call('ZADD', P .. 'dirty', ARGV[2], id)
    taken[#taken + 1] = found
  else
    call('ZREM', P .. 'dirty', id)
  end
end
return taken
