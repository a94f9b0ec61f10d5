-- Retention: what is settled and old goes, a bounded number at once.
-- What (messages, events, others, dead), before, most. Messages: how many to pass over (they must
-- stay). Others: which. Dead: lane and channel.
-- Answers how many went, how many were passed over or, for events, how many statuses.
local what, before, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local went, stayed = 0, 0

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
  local old = call('ZRANGEBYSCORE', P .. 'done', '-inf', '(' .. before, 'LIMIT', ARGV[4], most)
  for _, id in ipairs(old) do
    if purge_message(id) then went = went + 1 else stayed = stayed + 1 end
  end
elseif what == 'events' then
  local old = call('ZRANGEBYSCORE', P .. 'ez', '-inf', '(' .. before, 'LIMIT', 0, most)
  for _, provider_id in ipairs(old) do
    for _, entry in ipairs(call('LRANGE', P .. 'e:' .. provider_id, 0, -1)) do
      local status, _, _, to, channel = split_event(entry)
      if status then
        if to ~= '' then call('SREM', P .. 'er:' .. to, provider_id) end
        count(channel, 'expired_events', 1)
      end
      stayed = stayed + 1
    end
    call('DEL', P .. 'e:' .. provider_id)
    call('ZREM', P .. 'ez', provider_id)
    call('ZREM', P .. 'ask', provider_id)
    went = went + 1
  end
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
return { went, stayed }
