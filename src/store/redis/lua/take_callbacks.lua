-- Takes due callbacks of a lane; they stay taken until they are settled or the lease is over.
-- replica, claim, lane, channel, now, most. Answers nothing without a lease.
local replica, claim, lane, channel, now, most = unpack(ARGV)
if not may_take(replica) then return false end
local ready = P .. 'cr:' .. lane .. ':' .. channel
-- The pause before a message that is not known yet is looked for again, and how long that goes on (ms).
local AGAIN, LONGEST = 1000, 150000

-- A reply that came when this server may have forgotten its message, or the number that stands in (events.lua).
-- Answers the callback that is told now, if any is.
local function look_again(cid, callback)
  local order, _, tries, created, row = string.match(callback, '^(%d+)|(%d*)|(%d+)|(%d+)|(.*)$')
  local text = string.match(row or '', '"text":(.*),"payload":')
  local reply = text and decoded(P .. 'c:' .. cid, row) or {}
  if type(reply.inbound) ~= 'table' then return callback end
  local said, person = string.match(reply.inbound.text, '^%s*(.-)%s*$'), string.match(row, '"from":(%d+)')
  local id, quoted = answered(all_numbers(person), tostring(reply.named), said, reply.since)
  if not quoted and is_being_put_back() and created + LONGEST > tonumber(now) then
    call('ZADD', ready, whole(now + AGAIN), cid)
    return
  end
  local home, msg_id, waba, payload = channel, nil, reply.inbound.waba, 'null'
  if id then
    home, msg_id, person, waba, payload = told_with(id, quoted, person, said)
    note(id, now, 'reply', nil, HISTORY_LIMIT)
  elseif waba == '' then
    waba = call('HGET', P .. 'num', channel) or ''
  end
  if home == channel and (id or not reply.unasked) then
    row = reply_row(string.match(row, '"at":(%-?%d+)'), msg_id, person, waba, text, payload)
    callback = table.concat({ order, id or '', tries, created, row }, '|')
    call('SET', P .. 'c:' .. cid, callback)
    return callback
  end
  call('DEL', P .. 'c:' .. cid)
  leave_line(cid, lane, channel, order, now)
  if id then
    row = reply_row(string.match(row, '"at":(%-?%d+)'), msg_id, person, waba, text, payload)
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
