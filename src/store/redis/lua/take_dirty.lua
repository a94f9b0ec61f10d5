-- Takes messages whose record is to be written elsewhere; hides their marks for a while.
-- now, until when they are hidden, most. Answers as find.lua does.
local taken = {}

-- A version that is none would never be the one that was written.
local function have_version(id)
  local version = fields(id, 'vr')[1]
  if not number(id, version) and call('EXISTS', key_m(id)) == 1 then
    call('HSET', key_m(id), 'vr', whole(redis_us()))
  end
end

for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'dirty', '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  have_version(id)
  local found = describe(id)
  if found then
    call('ZADD', P .. 'dirty', ARGV[2], id)
    taken[#taken + 1] = found
  else
    call('ZREM', P .. 'dirty', id)
  end
end
return taken
