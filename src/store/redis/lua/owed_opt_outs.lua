-- What Datastore does not have; hidden for a while. now, until when it is hidden, most. Answers of each: channel, oo or
-- om, name, 1 (wants none) or 0, when, how.
local owed = {}
for _, entry in ipairs(call('ZRANGEBYSCORE', P .. 'od', '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  local channel, scope, name = string.match(entry, '^([^|]*)|(o[om]):(.+)$')
  local at, how
  if scope then at, how = said_at(channel, scope .. ':' .. name) end
  if at then
    call('ZADD', P .. 'od', ARGV[2], entry)
    local is_out = call('SISMEMBER', P .. scope .. ':' .. channel, name)
    owed[#owed + 1] = { channel, scope, name, is_out, whole(at), how }
  else
    call('ZREM', P .. 'od', entry)
  end
end
return owed
