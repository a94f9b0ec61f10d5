-- What happened to a message? msg_id: channel, msg_id. provider_id: the id. phone: the number, most.
-- Answers each message: its number, small fields, row and history, callbacks that wait or were given
-- up.
local ids = {}
if ARGV[1] == 'msg_id' then
  ids[1] = call('GET', P .. 'i:' .. ARGV[2] .. ':' .. ARGV[3]) or nil
elseif ARGV[1] == 'provider_id' then
  ids[1] = call('GET', P .. 'p:' .. ARGV[2]) or nil
else
  ids = call('ZREVRANGE', P .. 'r:' .. ARGV[2], 0, tonumber(ARGV[3]) - 1)
end

local found = {}
for _, id in ipairs(ids) do
  local fields = call('HGETALL', key_m(id))
  if #fields > 0 then
    local channel, callbacks = call('HGET', key_m(id), 'ch'), {}
    local dead = call('SMEMBERS', P .. 'dm:' .. id)
    table.sort(dead)
    for _, cid in ipairs(dead) do
      callbacks[#callbacks + 1] = { 'dead', call('GET', P .. 'c:' .. cid),
        call('HGET', P .. 'dr', cid) or '' }
    end
    for place, cid in ipairs(call('LRANGE', P .. 'co:0:' .. channel .. ':' .. id, 0, -1)) do
      callbacks[#callbacks + 1] =
        { place == 1 and 'ready' or 'waits', call('GET', P .. 'c:' .. cid), '' }
    end
    found[#found + 1] = { id, fields, call('GET', P .. 'd:' .. id), callbacks }
  end
end
return found
