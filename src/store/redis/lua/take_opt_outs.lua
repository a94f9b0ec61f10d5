-- Takes what was said. How it comes in (now, import, merge; or list: what has no place in the list yet gets one), then
-- of each: channel, oo or om, name, 1 (wants none) or 0, when, how. It counts for all names of the person. Answers of
-- how many that changed what they want.
local entrance, changed = ARGV[1], 0

-- What is kept of a name; where it says something else than the set, an older program wrote that later.
local function kept_at(channel, said, is_out)
  local kept, _, out = said_at(channel, said)
  local now = is_out and '1' or '0'
  if not kept then return entrance ~= 'list' and is_out and 0 end
  if out ~= now then
    kept = kept + 1
    keep_said(channel, said, now, kept, 'unknown')
  end
  return kept
end

local function take_said(entrance, channel, scope, name, out, at, how)
  local key, said = P .. scope .. ':' .. channel, scope .. ':' .. name
  local is_out = call('SISMEMBER', key, name) == 1
  local differs = is_out ~= (out == '1')
  local kept = kept_at(channel, said, is_out)
  at = tonumber(at)
  if entrance == 'now' then
    at = math.max(at, (kept or -1) + 1)
  elseif kept and not (at > kept or at == kept and differs and out == '1') then
    if entrance == 'merge' and (differs or at < kept) then call('ZADD', P .. 'od', 0, channel .. '|' .. said) end
    return false
  end
  if out == '1' then call('SADD', key, name) else call('SREM', key, name) end
  call('SADD', P .. 'channels', channel)
  keep_said(channel, said, out, at, how)
  if entrance == 'merge' then call('ZREM', P .. 'od', channel .. '|' .. said) end
  return differs
end

-- All that the person is called. A user id of which the number is known is of no use any more.
local function names_of(name)
  if string.find(name, '^%d+$') then return all_numbers(name) end
  local to = dialled(name)
  return to and all_numbers(to) or { name }
end

for at = 2, #ARGV, 6 do
  local channel, scope, name, out, when, how = unpack(ARGV, at, at + 5)
  local is_news = false
  for _, one in ipairs(entrance == 'list' and { name } or names_of(name)) do
    -- Of a name that Datastore does not have, it is owed it.
    local comes = entrance == 'merge' and one ~= name and 'import' or entrance
    is_news = take_said(comes, channel, scope, one, out, when, how) or is_news
  end
  if is_news then changed = changed + 1 end
end
return changed
