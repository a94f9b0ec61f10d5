-- Takes what was said. How it comes in (now, import, merge; or list: what has no place in the list yet gets one), then
-- of each: channel, oo or om, name, 1 (wants none) or 0, when, how. Answers of how many that changed what they want.
local entrance, changed = ARGV[1], 0

local function take_said(channel, scope, name, out, at, how)
  local key, said = P .. scope .. ':' .. channel, scope .. ':' .. name
  local is_out = call('SISMEMBER', key, name) == 1
  local differs = is_out ~= (out == '1')
  local kept = said_at(channel, said) or entrance ~= 'list' and is_out and 0
  at = tonumber(at)
  if entrance == 'now' and kept then
    if not differs then return end
    at = math.max(at, kept + 1)
  elseif kept and not (at > kept or at == kept and differs and out == '1') then
    if entrance == 'merge' and (differs or at < kept) then call('ZADD', P .. 'od', 0, channel .. '|' .. said) end
    return
  end
  if out == '1' then call('SADD', key, name) else call('SREM', key, name) end
  call('SADD', P .. 'channels', channel)
  keep_said(channel, said, at, how)
  if entrance == 'merge' then call('ZREM', P .. 'od', channel .. '|' .. said) end
  if differs then changed = changed + 1 end
end

for at = 2, #ARGV, 6 do take_said(unpack(ARGV, at, at + 5)) end
return changed
