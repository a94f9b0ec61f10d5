-- Datastore has these, unless something else was said meanwhile. Of each: channel, oo or om, name, 1 (wants none) or 0,
-- when.
for at = 1, #ARGV, 5 do
  local channel, scope, name, out, when = unpack(ARGV, at, at + 4)
  local said, is_out = scope .. ':' .. name, call('SISMEMBER', P .. scope .. ':' .. channel, name)
  if is_out == tonumber(out) and said_at(channel, said) == tonumber(when) then
    call('ZREM', P .. 'od', channel .. '|' .. said)
  else
    call('ZADD', P .. 'od', 'XX', 0, channel .. '|' .. said)
  end
end
return 0
