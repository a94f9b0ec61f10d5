-- Attempts that a process remembers and this server may have forgotten are put back: each is being sent by the
-- process again, until it says how it ended. Nobody else sends them then.
-- The server this is meant for, replica, then of each: message, channel, msg_id, phone, row, accept, attempt,
-- claim, step, and 1 where the message itself may be missing. In the order of their steps.
-- Answers nothing on another server; else of each the number of the message, and 1 where it is the process'.
local run, replica = ARGV[1], ARGV[2]
if run_id() ~= run then return false end
-- A sign of life.
if call('HGET', P .. 'roll', 'w:' .. replica) then call('HSET', P .. 'roll', 'w:' .. replica, whole(redis_ms())) end
local answers = {}
-- Channels of which this server does not know from which number they send: the latest one stands in.
local numberless = {}

local function insert(id, channel, msg_id, to, row, accepted)
  call('SET', P .. 'i:' .. channel .. ':' .. msg_id, id)
  call('HSET', key_m(id), 'ch', channel, 'mi', msg_id, 'to', to, 's', STATE.attempting, 'du', accepted, 'ac', accepted)
  call('SET', P .. 'd:' .. id, row .. '\n' .. line(accepted, 'accepted'))
  call('ZADD', P .. 'r:' .. to, accepted, id)
  if numberless[channel] == nil then numberless[channel] = not call('HGET', P .. 'num', channel) end
  local from = numberless[channel] and from_of(id) or ''
  if from ~= '' then call('HSET', P .. 'num', channel, from) end
  count(channel, 'accepted', 1, 'attempting', 1)
end

-- Out of wherever it is. Answers whether it is the process' from now on, and whether it was before.
local function take_out(id, channel, mine, step)
  local m = fields(id, 's', 'ta', 'ow')
  local state = state_in(id, STATE.attempting, m[1])
  if state == STATE.accepted or state == STATE.failed then return false end
  if m[3] == mine then
    if state == STATE.attempting then call('HSET', P .. 'att:' .. replica, id, string.match(mine, '%d+$')) end
    return state ~= STATE.queued, true
  end
  -- Somebody's later attempt is theirs to tell.
  if (m[2] or '') > step then return false end
  if state == STATE.queued then
    dequeue(id, channel)
    move(id, channel, 'worker', state, 'claim')
  elseif state == STATE.unknown then
    -- It was sent once more since.
    call('ZREM', P .. 'u', id)
    call('HSET', key_m(id), 's', STATE.attempting, 'rs', 1, 'lo', 1)
    count(channel, 'unknown', -1, 'attempting', 1)
  else
    call('HDEL', P .. 'att:' .. (string.match(m[3] or '', '^(%x+):') or replica), id)
  end
  return true
end

local function recall(id, channel, msg_id, to, row, accepted, attempt, claim, step, may_miss)
  local m = fields(id, 'ch', 'mi')
  local is_known = m[1] == channel and m[2] == msg_id
  if not is_known then
    -- It may have been accepted once more since.
    local other = call('GET', P .. 'i:' .. channel .. ':' .. msg_id)
    if other and call('EXISTS', key_m(other)) == 0 then other = false end
    if not other and may_miss ~= '1' then return { id, 0 } end
    if other then
      id, is_known = other, true
    elseif call('EXISTS', key_m(id)) == 1 then
      id = next_of('seq')
    end
  end
  local mine = replica .. ':' .. claim
  if is_known then
    local is_ours, was_ours = take_out(id, channel, mine, step)
    if was_ours or not is_ours then return { id, is_ours and 1 or 0 } end
  else
    insert(id, channel, msg_id, to, row, accepted)
  end
  local tried = math.max(number(id, fields(id, 'n')[1], 0), tonumber(attempt))
  call('HSET', key_m(id), 'n', tried, 'ta', step, 'ow', mine)
  call('HSET', P .. 'att:' .. replica, id, claim)
  call('SADD', P .. 'x:' .. to, id)
  -- What was written of it elsewhere may be newer than this server's count says.
  if MARK_DIRTY then call('HSET', key_m(id), 'vr', whole(redis_us())) end
  note(id, whole(redis_ms()), 'attempt', attempt .. ' (Redis had forgotten it)')
  return { id, 1 }
end

for at = 3, #ARGV, 10 do answers[#answers + 1] = recall(unpack(ARGV, at, at + 9)) end
return answers
