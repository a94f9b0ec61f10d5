-- What time alone brings about: holds that end, messages that grow too old.
-- now, the moment up to which holds are over, most, whether ages are looked at, the farthest due (ms), the
-- refusals for too old and for an unknown outcome (as JSON and in words), then channel, resend, the oldest
-- accept, hold (ms) of each.
-- Answers what was failed and resent (channel, msg_id, which refusal), whether there is more, what
-- was folded.
local now, over_by, most, ages, farthest = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1',
  tonumber(ARGV[5])
local too_old, too_old_text, unknown, unknown_text = unpack(ARGV, 6, 9)
local ahead = tonumber(now) + farthest
local failed, resent, more, brought, rules = {}, {}, 0, 0, {}
for at = 10, #ARGV, 4 do
  rules[ARGV[at]] = { resend = ARGV[at + 1] == '1', oldest = tonumber(ARGV[at + 2]),
    hold = tonumber(ARGV[at + 3]) }
end

-- What this server says may be behind what was sent.
if not is_open() then return { failed, resent, more, answer() } end

-- What is due in a future that no pause of ours reaches was written by a clock that was ahead and
-- has been set back: it is due now. Clocks of replicas differ, so only one that was seen to be set
-- back leaves nothing ahead.
local function bring_back(key, due)
  local late = call('ZRANGEBYSCORE', key, '(' .. due + farthest, '+inf', 'LIMIT', 0,
    most - brought)
  for _, id in ipairs(late) do call('ZADD', key, due, id) end
  brought = brought + #late
  if brought >= most then more = 1 end
  return late
end

local function look_at_ages(channel, rule)
  for _, queue in ipairs({ 'q:', 'rq:', 'aq:' }) do
    for _, id in ipairs(bring_back(P .. queue .. channel, tonumber(now))) do
      local accepted = number(id, fields(id, 'ac')[1], tonumber(now))
      accepted = math.min(accepted, tonumber(now))
      call('HSET', key_m(id), 'du', now, 'ac', accepted)
      call('ZADD', P .. 'ra:' .. channel, 'XX', accepted, id)
    end
  end
  for lane = 0, 1 do
    bring_back(P .. 'cr:' .. lane .. ':' .. channel, tonumber(now))
  end
  for _, queue in ipairs({ 'q:', 'ra:' }) do
    local room = most - #failed
    local old = room > 0 and call('ZRANGEBYSCORE', P .. queue .. channel, '-inf',
      '(' .. rule.oldest, 'LIMIT', 0, room) or {}
    for _, id in ipairs(old) do
      local m = fields(id, 'mi', 's', 'ac')
      local state = state_in(id, STATE.queued, m[2])
      if state == STATE.queued and number(id, m[3], 0) < rule.oldest then
        dequeue(id, channel)
        fail(id, channel, 'time', m[1], state, too_old, too_old_text, now)
        failed[#failed + 1] = { channel, m[1], 0 }
      end
    end
  end
end

-- Answers whether the hold was this process' to end.
local function end_hold(id)
  local to = fields(id, 'to')[1]
  -- A last look: an attempt to the same person may have stood in the way of the evidence.
  infer_receipt(to, now)
  local m = fields(id, 's', 'ch', 'mi', 'rs', 'ac', 'du')
  local state = state_in(id, STATE.unknown, m[1])
  if state ~= STATE.unknown then
    call('ZREM', P .. 'u', id)
    return true
  elseif not m[2] then
    set_aside(id, now)
    return true
  end
  local rule = rules[m[2]]
  if not rule and number(id, m[6], 0) + HOLD > tonumber(over_by) then
    -- Of a channel that this process does not know; others may.
    return false
  end
  call('ZREM', P .. 'u', id)
  -- One that was in no state may have been sent more than once.
  local once = m[4] ~= '1' and m[1] == state
  if rule and rule.resend and once and number(id, m[5], -1) >= rule.oldest then
    move(id, m[2], 'time', state, 'resend')
    call('HSET', key_m(id), 'rs', 1, 'lo', 1)
    requeue(id, m[2], now, m[5])
    note(id, now, 'retry', 'outcome still unknown, sent once more as configured')
    resent[#resent + 1] = { m[2], m[3] }
  else
    fail(id, m[2], 'time', m[3], state, unknown, unknown_text, now)
    failed[#failed + 1] = { m[2], m[3], 1 }
  end
  return true
end

if ages then
  for channel, rule in pairs(rules) do look_at_ages(channel, rule) end
  if #failed >= most then more = 1 end
  local shortest = math.huge
  for _, rule in pairs(rules) do shortest = math.min(shortest, rule.hold) end
  -- Those too whose channel holds for longer are among them, so more are looked at than changed.
  local late = shortest < math.huge and call('ZREVRANGEBYSCORE', P .. 'u', '+inf',
    '(' .. ahead + shortest, 'LIMIT', 0, 10 * most) or {}
  local shortened = 0
  for _, id in ipairs(late) do
    if shortened >= most then
      more = 1
      break
    end
    local m = fields(id, 'ch', 'du')
    local rule = rules[m[1]]
    if rule and number(id, m[2], math.huge) > ahead + rule.hold then
      call('ZADD', P .. 'u', tonumber(now) + rule.hold, id)
      call('HSET', key_m(id), 'du', tonumber(now) + rule.hold)
      shortened = shortened + 1
    end
  end
end
-- More than are ended at once, so that those of unknown channels are not in the way.
local over, ended = call('ZRANGEBYSCORE', P .. 'u', '-inf', over_by, 'LIMIT', 0,
  10 * most), 0
for _, id in ipairs(over) do
  if ended >= most then
    more = 1
    break
  end
  if end_hold(id) then ended = ended + 1 end
end
return { failed, resent, more, answer() }
