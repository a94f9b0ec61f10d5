-- Takes due callbacks of a lane; they stay taken until they are settled or the lease is over.
-- replica, claim, lane, channel, now, most. Answers nothing without a lease.
local replica, claim, lane, channel, now, most = unpack(ARGV)
if not may_take(replica) then return false end
local ready = P .. 'cr:' .. lane .. ':' .. channel
-- The pause before a message that is not known yet is looked for again, and how long that goes on (ms).
local AGAIN, LONGEST = 1000, 150000

-- A reply that named a message which this server may have forgotten when it came (events.lua). Answers the callback
-- that is told now, if any is.
local function look_again(cid, callback)
  local order, guess, tries, created, row = string.match(callback, '^(%d+)|(%d*)|(%d+)|(%d+)|(.*)$')
  local text = string.match(row or '', '"text":(.*),"payload":')
  local reply = text and decoded(P .. 'c:' .. cid, row) or {}
  if type(reply.inbound) ~= 'table' then return callback end
  local id = call('GET', P .. 'p:' .. tostring(reply.quoted))
  local m = id and fields(id, 'ch', 'mi', 'to')
  local is_known = m and m[1] and m[2]
  if not is_known and is_being_put_back() and created + LONGEST > tonumber(now) then
    call('ZADD', ready, whole(now + AGAIN), cid)
    return
  end
  if is_known then
    local said, person = string.match(reply.inbound.text, '^%s*(.-)%s*$'), string.match(row, '"from":(%d+)')
    guess, row = id, reply_row(string.match(row, '"at":(%-?%d+)'), m[2], number(id, m[3]) and m[3] or person, from_of(id),
      text, tapped(id, said), '')
    note(id, now, 'reply', nil, HISTORY_LIMIT)
  else
    row = string.gsub(row, ',"quoted":.-(,"[%a_]+":)', '%1', 1)
  end
  local is_elsewhere = is_known and m[1] ~= channel
  if not (is_elsewhere or not is_known and reply.unasked) then
    callback = table.concat({ order, guess, tries, created, row }, '|')
    call('SET', P .. 'c:' .. cid, callback)
    return callback
  end
  call('DEL', P .. 'c:' .. cid)
  leave_line(cid, lane, channel, order, now)
  if is_elsewhere then
    enqueue(m[1], lane, order, id, row, now)
  else
    keep_for_people(channel, 'unmatched_reply', reply.inbound.text, now)
  end
end

local taken = {}
for _, cid in ipairs(call('ZRANGEBYSCORE', ready, '-inf', now, 'LIMIT', 0, most)) do
  call('ZREM', ready, cid)
  -- One that is gone cannot be read, and becomes a dead letter as such.
  local callback = text_at(P .. 'c:' .. cid)
  if callback and string.find(callback, '"quoted":', 1, true) then callback = look_again(cid, callback) end
  if callback ~= nil then
    call('HSET', P .. 'ct:' .. replica, cid, claim .. '|' .. lane .. '|' .. channel)
    taken[#taken + 1] = { cid, callback }
  end
end
return taken
