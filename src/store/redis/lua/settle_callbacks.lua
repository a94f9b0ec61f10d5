-- Ends tries to relay.
-- replica, lane, channel, now, then callback, claim, end and its word: taken summary, later due, dead
-- reason. The claim is the fence, as for messages; but what MoEngage took is told, whoever took it.
local replica, lane, channel, now = unpack(ARGV, 1, 4)
local ready = P .. 'cr:' .. lane .. ':' .. channel

local function spoken(row)
  local status = string.match(row, '"status":{"status":"(%a+)"')
  if status then return status end
  return string.find(row, '"payload":null}}', 1, true) and 'reply (text)' or 'reply (button)'
end

local function settle(cid, claim, finish, word)
  local taken = call('HGET', P .. 'ct:' .. replica, cid)
  local mine = taken and string.match(taken, '^%d+') == claim
  -- One that was taken once more since is that taker's to settle.
  local free = not taken and finish == 'taken' and call('ZSCORE', ready, cid)
  if not (mine or free) then return end
  local callback = text_at(P .. 'c:' .. cid) or ''
  call('HDEL', P .. 'ct:' .. replica, cid)
  local order, id, tries, created, row = string.match(callback, '^(%d+)|(%d*)|(%d+)|(%d+)|(.*)$')
  if not order then
    -- Damaged: for people to see, and of no message that could be told.
    order, id, tries, created, row = string.match(callback, '^%d+') or '0', '', 0, now, callback
  end
  tries = tonumber(tries) + 1
  if finish == 'later' then
    call('SET', P .. 'c:' .. cid, table.concat({ order, id, tries, created, row }, '|'))
    call('ZADD', ready, word, cid)
    return
  end
  call('ZREM', ready, cid)
  local told = spoken(row) .. ', ' .. word .. ', try ' .. tries
  if finish == 'taken' then
    call('DEL', P .. 'c:' .. cid)
    count(channel, 'callbacks_taken', 1)
    if id ~= '' then note(id, now, 'relayed', told, HISTORY_LIMIT) end
  else
    call('SET', P .. 'c:' .. cid, table.concat({ order, id, tries, created, row }, '|'))
    call('ZADD', P .. 'dl:' .. lane .. ':' .. channel, created, cid)
    call('HSET', P .. 'dr', cid, word)
    if lane == '0' then call('SADD', P .. 'dm:' .. order, cid) end
    call('SADD', P .. 'channels', channel)
    count(channel, 'dead_letters', 1)
    if id ~= '' then note(id, now, 'dead_letter', told, HISTORY_LIMIT) end
  end
  leave_line(cid, lane, channel, order, now)
end

for at = 5, #ARGV, 4 do settle(unpack(ARGV, at, at + 3)) end
return 0
