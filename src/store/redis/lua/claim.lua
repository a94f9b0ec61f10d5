-- Write B: messages are marked as being sent before the first byte goes out.
-- replica, claim, now, most, then the refusals for too old and for opted out (as JSON and in words),
-- how long (ms) a row of a newer program is left for one, then channel and the oldest accept of each
-- turn. Answers nothing without a lease; else what was taken, what was failed instead, how many are
-- left for a newer program, and which keys are damaged. What was taken and cannot be read is failed by
-- whoever takes it.
local replica, claim, now, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local too_old, too_old_text, out, out_text, put_off = unpack(ARGV, 5, 9)
if not may_take(replica) then return false end
local taken, failed, newer = {}, {}, 0
local MOST_NEWER = 1000

-- A row that only a newer program can read is put off before it is taken: it uses up no permit and
-- no attempt, and nobody waits behind it. A row begins with its version.
local function left_for_a_newer(id, channel, accepted, row)
  local version = string.match(row, '^{"v":(%d+)')
  if not version or tonumber(version) <= ROW_VERSION then return false end
  requeue(id, channel, tonumber(now) + put_off, accepted)
  newer = newer + 1
  return true
end

local function begin(id, channel, m, row)
  local attempt = number(id, m[4], 0) + 1
  call('HSET', key_m(id), 's', AFTER.worker[STATE.queued].claim, 'n', attempt, 'ta', order_now(),
    'ow', replica .. ':' .. claim)
  call('HSET', P .. 'att:' .. replica, id, claim)
  if m[2] then call('SADD', P .. 'x:' .. m[2], id) end
  note(id, now, 'attempt', tostring(attempt), HISTORY_LIMIT)
  taken[#taken + 1] = { id, channel, m[1], m[2], m[3], attempt, row }
  return 1
end

local function take(channel, expired_before, room)
  local ids = call('ZRANGEBYSCORE', P .. 'rq:' .. channel, '-inf', now, 'LIMIT', 0, room)
  -- What was tried before goes first: behind the backlog it would wait for hours.
  if #ids < room then
    local fresh = call('ZRANGEBYSCORE', P .. 'q:' .. channel, '-inf', now, 'LIMIT', 0, room - #ids)
    for _, id in ipairs(fresh) do ids[#ids + 1] = id end
  end
  local got = 0
  for _, id in ipairs(ids) do
    local m = fields(id, 'mi', 'to', 'ac', 'n', 's', 'ch')
    local state = state_in(id, STATE.queued, m[5])
    dequeue(id, channel)
    if state == STATE.queued then keep_channel(id, m[6], channel) end
    if state ~= STATE.queued then
      -- Not a message that waits: nothing to send.
    elseif number(id, m[3], expired_before) < expired_before then
      fail(id, channel, 'worker', m[1], state, too_old, too_old_text, now)
      failed[#failed + 1] = { channel, m[1], 0 }
    elseif m[2] and call('SISMEMBER', P .. 'oo:' .. channel, m[2]) == 1 then
      fail(id, channel, 'worker', m[1], state, out, out_text, now)
      failed[#failed + 1] = { channel, m[1], 1 }
    else
      -- In no state: nobody knows whether it was sent, so it has no row.
      local text = m[5] == state and text_at(P .. 'd:' .. id) or ''
      local row = string.match(text, '^[^\n]*')
      if not left_for_a_newer(id, channel, m[3], row) then got = got + begin(id, channel, m, row) end
    end
  end
  count(channel, 'queued', -got)
  count(channel, 'attempting', got)
  return got
end

-- Rows that are put off make room for those behind them.
local function serve(channel, expired_before, room)
  repeat
    local left = newer
    room = room - take(channel, expired_before, room)
  until room <= 0 or newer == left or newer >= MOST_NEWER
end

local turns = (#ARGV - 9) / 2
-- First each its share, then what the others left; one alone has all at once.
local rounds = turns > 1 and { math.ceil(most / turns), most } or { most }
for _, limit in ipairs(rounds) do
  for turn = 0, turns - 1 do
    local room = math.min(most - #taken, limit)
    if room > 0 then serve(ARGV[10 + 2 * turn], tonumber(ARGV[11 + 2 * turn]), room) end
  end
end
return { taken, failed, newer, damage }
