-- Retention: what is settled and old goes, a bounded number at once.
-- What (messages, events, others, dead), before, most. Messages: since when to look, and how many of
-- that very moment to pass over (they must stay). Others: which. Dead: lane and channel.
-- Answers how many went, how many statuses of events went, whether there is more, and for messages where
-- to go on: counted from the first, what must stay would be walked through again at every step.
local what, before, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local went, statuses, more, since, pass = 0, 0, 0, ARGV[4], tonumber(ARGV[5])

local function purge_message(id)
  local m = fields(id, 'ch', 'mi', 'to', 'pi', 's')
  if COUNTER[m[5]] and m[5] ~= STATE.accepted and m[5] ~= STATE.failed then return false end
  if m[1] and m[2] and m[3] then
    local waiting = P .. 'co:0:' .. m[1] .. ':' .. id
    if call('EXISTS', waiting, P .. 'dm:' .. id) > 0 then return false end
    if MARK_DIRTY and call('ZSCORE', P .. 'dirty', id) then return false end
    call('DEL', P .. 'i:' .. m[1] .. ':' .. m[2])
    call('ZREM', P .. 'r:' .. m[3], id)
    call('SREM', P .. 'x:' .. m[3], id)
    local ids = call('SMEMBERS', P .. 'ps:' .. id)
    ids[#ids + 1] = m[4] or nil
    for _, provider_id in ipairs(ids) do
      if call('GET', P .. 'p:' .. provider_id) == id then call('DEL', P .. 'p:' .. provider_id) end
    end
    call('DEL', P .. 'ps:' .. id)
  end
  call('DEL', key_m(id), P .. 'd:' .. id, P .. 't:' .. id)
  call('ZREM', P .. 'done', id)
  call('ZREM', P .. 'dirty', id)
  return true
end

if what == 'messages' then
  local old = call('ZRANGEBYSCORE', P .. 'done', since, '(' .. before, 'WITHSCORES', 'LIMIT', pass, most)
  for at = 1, #old, 2 do
    if old[at + 1] ~= since then since, pass = old[at + 1], 0 end
    if purge_message(old[at]) then went = went + 1 else pass = pass + 1 end
  end
  if #old == 2 * most then more = 1 end
elseif what == 'events' then
  -- An id may have any number of statuses.
  local room = 5 * most
  for _, provider_id in ipairs(call('ZRANGEBYSCORE', P .. 'ez', '-inf', '(' .. before, 'LIMIT', 0, most)) do
    if statuses >= room then break end
    statuses = statuses + forget_early(provider_id, room - statuses)
    went = went + 1
  end
  if statuses >= room then more = 1 end
elseif what == 'others' then
  -- A sorted set that is nothing but what is kept.
  went = math.min(call('ZCOUNT', P .. ARGV[4], '-inf', '(' .. before), most)
  if went > 0 then call('ZREMRANGEBYRANK', P .. ARGV[4], 0, went - 1) end
else
  -- Dead letters of a lane.
  local key = P .. 'dl:' .. ARGV[4]
  for _, cid in ipairs(call('ZRANGEBYSCORE', key, '-inf', '(' .. before, 'LIMIT', 0, most)) do
    local order = string.match(text_at(P .. 'c:' .. cid) or '', '^(%d+)')
    if order then call('SREM', P .. 'dm:' .. order, cid) end
    call('DEL', P .. 'c:' .. cid)
    call('HDEL', P .. 'dr', cid)
    call('ZREM', key, cid)
    went = went + 1
  end
end
if went >= most then more = 1 end
return { went, statuses, more, since, pass }
