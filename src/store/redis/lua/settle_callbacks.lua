-- Ends tries to relay.
-- replica, lane, channel, now, then callback, end and its word: taken summary, later due, dead reason
local replica, lane, channel, now = unpack(ARGV, 1, 4)
local ready = P .. 'cr:' .. lane .. ':' .. channel

local function spoken(row)
  local status = string.match(row, '"status":{"status":"(%a+)"')
  if status then return status end
  return string.find(row, '"payload":null}}', 1, true) and 'reply (text)' or 'reply (button)'
end

local function settle(cid, finish, word)
  local mine = call('HDEL', P .. 'ct:' .. replica, cid) == 1
  local callback = call('GET', P .. 'c:' .. cid)
  -- One that another process has taken since is that one's to settle.
  if not callback or not (mine or call('ZSCORE', ready, cid)) then return end
  local order, id, tries, created, row = string.match(callback, '^(%d+)|(%d*)|(%d+)|(%d+)|(.*)$')
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
    count(channel, 'dead_letters', 1)
    if id ~= '' then note(id, now, 'dead_letter', told, HISTORY_LIMIT) end
  end
  count(channel, 'callbacks_waiting', -1)
  local waiting = P .. 'co:' .. lane .. ':' .. channel .. ':' .. order
  call('LREM', waiting, 1, cid)
  local head = call('LINDEX', waiting, 0)
  if head then call('ZADD', ready, now, head) end
end

for at = 5, #ARGV, 3 do settle(ARGV[at], ARGV[at + 1], ARGV[at + 2]) end
return 0
