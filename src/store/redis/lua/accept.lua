-- Write A: messages come in, each once.
-- Of each: channel, msg_id, phone, row, from, now, whether it is a promotion. Answers its number where it is stored,
-- 1 the same again, 2 another content under a known id, 3 opted out, 4 opted out of promotions.
-- What is the same for all of them is asked and written once.
local last_id, spare
local named, queued, accepted = {}, {}, {}

local function add(counts, channel) counts[channel] = (counts[channel] or 0) + 1 end

-- It can be sent from now on. One that already counts stands among those to the person.
local function put_in_place(id, channel, to, due, now)
  call('ZADD', P .. 'q:' .. channel, due, id)
  add(queued, channel)
  if call('ZADD', P .. 'r:' .. to, now, id) == 1 then add(accepted, channel) end
end

-- 0.1 knew a message before it had its place, and stopped between where Redis did not permit the next step:
-- answered by an error, so whoever wrote it repeats it.
local function mend(id, channel, to, due, at)
  for _, queue in ipairs({ 'q:', 'rq:', 'aq:' }) do
    if call('ZSCORE', P .. queue .. channel, id) then return end
  end
  put_in_place(id, channel, to, number(id, due, 0), number(id, at, 0))
end

local function accept(at, last)
  local channel, msg_id, to, row, from, now, is_marketing = unpack(ARGV, at, last)
  local index = P .. 'i:' .. channel .. ':' .. msg_id
  local no = opted_out('oo', channel, to) and 3 or is_marketing == '1' and opted_out('om', channel, to) and 4
  local id = spare or last_id and whole(tonumber(last_id) + 1) or not no and next_of('seq')
  -- One that is new is known from here on: one command less than to ask first. All that follows is permitted
  -- (rights.rs), so it is never known without its rows.
  local known = no and call('GET', index) or not no and call('SET', index, id, 'NX', 'GET')
  if known then
    spare = id
    local text = text_at(P .. 'd:' .. known)
    local m = fields(known, 'to', 's', 'ch', 'du', 'ac')
    if m[1] and m[2] == STATE.queued and m[3] == channel then mend(known, channel, m[1], m[4], m[5]) end
    local same = text and string.sub(text, 1, #row + 1) == row .. '\n' and m[1] == to
    return same and 1 or 2
  end
  if no then return no end
  last_id, spare = id, nil
  call('HSET', key_m(id), 'ch', channel, 'mi', msg_id, 'to', to, 's', STATE.queued, 'du', now, 'ac', now)
  call('SET', P .. 'd:' .. id, row .. '\n' .. line(now, 'accepted'))
  put_in_place(id, channel, to, now, now)
  -- It seldom changes, and a write costs more than a question: it goes to the disk and to copies too.
  if named[channel] ~= from and call('HGET', P .. 'num', channel) ~= from then
    call('HSET', P .. 'num', channel, from)
  end
  named[channel] = from
  if MARK_DIRTY then
    call('HINCRBY', key_m(id), 'vr', 1)
    call('ZADD', P .. 'dirty', 'NX', 0, id)
  end
  return tonumber(id)
end

local answers = each(accept)
if last_id then call('SET', P .. 'seq', last_id) end
for channel, n in pairs(queued) do
  count(channel, 'queued', n, 'accepted', accepted[channel] or 0)
end
return answers
