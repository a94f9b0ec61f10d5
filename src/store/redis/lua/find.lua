-- What happened to a message? msg_id: channel, msg_id. provider_id: the id. phone: the number, most.
local ids = {}
if ARGV[1] == 'msg_id' then
  ids[1] = call('GET', P .. 'i:' .. ARGV[2] .. ':' .. ARGV[3]) or nil
elseif ARGV[1] == 'provider_id' then
  ids[1] = call('GET', P .. 'p:' .. ARGV[2]) or nil
else
  ids = call('ZREVRANGE', P .. 'r:' .. ARGV[2], 0, tonumber(ARGV[3]) - 1)
end
local found = {}
for _, id in ipairs(ids) do found[#found + 1] = describe(id) end
return found
