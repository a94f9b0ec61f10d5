-- Takes due callbacks of a lane; they stay taken until they are settled or the lease is over.
-- replica, claim, lane, channel, now, most. Answers nothing without a lease.
local replica, claim, lane, channel, now, most = unpack(ARGV)
if not may_take(replica) then return false end
local ready = P .. 'cr:' .. lane .. ':' .. channel
-- The pause before a message that is not known yet is looked for again, how long that goes on (ms), and for how many
-- replies at once.
local AGAIN, LONGEST, MOST_LOOKED_AT = 1000, 150000, 50
local looked_at, in_doubt = 0, nil

local function put_off(cid) call('ZADD', ready, whole(now + AGAIN), cid) end

-- A reply as it was written when this server may have forgotten its message, or the number that stands in
-- (events.lua): of its own version, and whole. Else nothing.
local function waiting(cid, row)
  local at, person = string.match(row, '^{"v":' .. CALLBACK_VERSION .. ',"at":(%-?%d+),"named":.*,"inbound":{"from":(%d+),')
  local text = string.match(row, '"text":(.*),"payload":')
  local reply = at and text and decoded(P .. 'c:' .. cid, row) or {}
  local said = type(reply.inbound) == 'table' and reply.inbound
  if said and type(said.text) == 'string' and tonumber(reply.since) and tonumber(reply.asked) then
    return reply, at, person, text
  end
end

-- The person wants no messages from that channel either, unless they said something else since.
local function obey_too(word, home, person, created)
  if word ~= 'oo' and word ~= 'om' then return end
  for _, name in ipairs(all_numbers(person)) do
    local at = said_at(home, word .. ':' .. name) or 0
    if at <= tonumber(created) then opt_out(word, home, { name }, created, 'reply') end
  end
end

-- Looks for the message once more. Answers the callback that is told now, if any is.
local function look_again(cid, callback)
  local order, _, tries, created, row = string.match(callback, '^(%d+)|(%d*)|(%d+)|(%d+)|(.*)$')
  local reply, at, person, text = waiting(cid, row or '')
  if not reply then return callback end
  looked_at = looked_at + 1
  if looked_at > MOST_LOOKED_AT then return put_off(cid) end
  if in_doubt == nil then in_doubt = is_being_put_back() end
  local said = type(reply.said) == 'string' and reply.said or ''
  local came, asked = tonumber(created), tonumber(reply.asked)
  local id, quoted = answered(all_numbers(person), tostring(reply.named), said, reply.since, came, asked)
  if not quoted and in_doubt and asked + LONGEST > redis_ms() then return put_off(cid) end
  local home, msg_id, waba, payload = channel, nil, reply.inbound.waba, 'null'
  if id then
    home, msg_id, person, waba, payload = told_with(id, quoted, person, said)
    note(id, now, 'reply', nil, HISTORY_LIMIT)
    obey_too(reply.word, home, person, created)
  elseif waba == '' then
    waba = call('HGET', P .. 'num', channel) or ''
  end
  row = reply_row(at, msg_id, person, waba, text, payload)
  if home == channel and (id or not reply.unasked) then
    callback = table.concat({ order, id or '', tries, created, row }, '|')
    call('SET', P .. 'c:' .. cid, callback)
    return callback
  end
  call('DEL', P .. 'c:' .. cid)
  leave_line(cid, lane, channel, order, now)
  if id then
    enqueue(home, lane, order, id, row, now)
  else
    keep_for_people(channel, 'unmatched_reply', reply.inbound.text, now)
  end
end

local taken = {}
for _, cid in ipairs(call('ZRANGEBYSCORE', ready, '-inf', now, 'LIMIT', 0, most)) do
  call('ZREM', ready, cid)
  -- One that is gone cannot be read, and becomes a dead letter as such.
  local callback = text_at(P .. 'c:' .. cid)
  if callback and string.find(callback, '"since":', 1, true) then callback = look_again(cid, callback) end
  if callback ~= nil then
    call('HSET', P .. 'ct:' .. replica, cid, claim .. '|' .. lane .. '|' .. channel)
    taken[#taken + 1] = { cid, callback }
  end
end
return taken
