-- Write A: messages come in, each once.
-- Of each: channel, msg_id, phone, row, from, now, whether it is a promotion. Answers 0 stored, 1 the
-- same again, 2 another content under a known id, 3 opted out, 4 opted out of promotions.
-- What is the same for all of them is asked and written once.
local last_id
local named, stored = {}, {}

local function accept(at, last)
  local channel, msg_id, to, row, from, now, is_marketing = unpack(ARGV, at, last)
  local index = P .. 'i:' .. channel .. ':' .. msg_id
  local known = call('GET', index)
  if known then
    local text = text_at(P .. 'd:' .. known)
    local same = text and string.sub(text, 1, #row + 1) == row .. '\n'
      and fields(known, 'to')[1] == to
    return same and 1 or 2
  end
  if opted_out('oo', channel, to) then return 3 end
  if is_marketing == '1' and opted_out('om', channel, to) then return 4 end
  local id = last_id and whole(tonumber(last_id) + 1) or next_of('seq')
  last_id = id
  call('SET', index, id)
  call('HSET', key_m(id), 'ch', channel, 'mi', msg_id, 'to', to, 's', STATE.queued, 'du', now, 'ac', now)
  call('SET', P .. 'd:' .. id, row .. '\n' .. line(now, 'accepted'))
  call('ZADD', P .. 'q:' .. channel, now, id)
  call('ZADD', P .. 'r:' .. to, now, id)
  -- It seldom changes, and a write costs more than a question: it goes to the disk and to copies too.
  if named[channel] ~= from and call('HGET', P .. 'num', channel) ~= from then
    call('HSET', P .. 'num', channel, from)
  end
  named[channel] = from
  stored[channel] = (stored[channel] or 0) + 1
  if MARK_DIRTY then
    call('HINCRBY', key_m(id), 'vr', 1)
    call('ZADD', P .. 'dirty', 'NX', 0, id)
  end
  return 0
end

local answers = each(accept)
if last_id then call('SET', P .. 'seq', last_id) end
for channel, n in pairs(stored) do
  count(channel, 'accepted', n)
  count(channel, 'queued', n)
end
return answers
