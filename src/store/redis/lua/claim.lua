-- Write B: messages are marked as being sent before the first byte goes out.
-- replica, claim, now, most, then the refusals for too old and for opted out (as JSON and in words),
-- how long (ms) a row of a newer program is left for one, and one about whose age the clocks disagree; for
-- a trial "1" or "2" (somebody was tried before), whom and the part of the row that names the template,
-- else three empty texts; the last claims that the process has seen, its own and anybody's; then of each turn the channel, before which accept a message is too old, from
-- which accept one is sent, and the most that were tried before and that were put aside while fresh ones
-- wait. Answers nothing without a lease, and 0 while no work is handed out; else what was taken, what was failed
-- instead, how many are left for a newer program, which keys are damaged, and the step. What was taken and cannot be read is failed
-- by whoever takes it.
local replica, claim, now, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local too_old, too_old_text, out, out_text, put_off, look_again = unpack(ARGV, 5, 10)
local trial, tried_to, tried_template = unpack(ARGV, 11, 13)
local own, last = ARGV[14], ARGV[15]
local FIRST_TURN, TURN = 16, 5
if not may_take(replica) then return false end
if not (is_open() and is_as_seen(replica, own, last)) then return 0 end
local taken, failed, newer = {}, {}, 0
local claimed = state_after('worker', STATE.queued, 'claim')
-- Of those that are not taken (too old, opted out, of a newer program, of a disputed age, no messages) no
-- more are got out of the way at once, over all turns. They are not due then, so whoever asks again gets
-- further.
local MOST_PASSED = 200

-- A row that only a newer program can read is put off before it is taken: it uses up no permit and
-- no attempt, and nobody waits behind it. A row begins with its version.
local function left_for_a_newer(id, channel, accepted, row, aside)
  local version = string.match(row, '^{"v":(%d+)')
  if not version or tonumber(version) <= MESSAGE_VERSION then return false end
  requeue(id, channel, tonumber(now) + put_off, accepted, aside)
  newer = newer + 1
  return true
end

-- Whether anybody stopped promotions on a channel: where nobody did, it is not asked for each message.
local stopped_by_some = {}
local function no_marketing(channel, to)
  if stopped_by_some[channel] == nil then
    stopped_by_some[channel] = call('EXISTS', P .. 'om:' .. channel) == 1
  end
  return to and stopped_by_some[channel] and opted_out('om', channel, to) and 1 or 0
end

local function begin(id, channel, m, row, aside, text)
  local attempt = number(id, m[4], 0) + 1
  call('HSET', key_m(id), 's', claimed, 'n', attempt, 'ta', order_now(),
    'ow', replica .. ':' .. claim)
  call('HSET', P .. 'att:' .. replica, id, claim)
  if m[2] then call('SADD', P .. 'x:' .. m[2], id) end
  note(id, now, 'attempt', tostring(attempt), HISTORY_LIMIT, text ~= '' and text)
  taken[#taken + 1] = { id, channel, m[1], m[2], m[3], attempt, row, aside, no_marketing(channel, m[2]) }
  return 1
end

-- What the clocks disagree about is neither failed nor sent.
local function is_disputed(accepted, ages) return accepted >= ages.failed and accepted < ages.sent end

local function take(channel, ages, ids, aside)
  local got = 0
  for _, id in ipairs(ids) do
    local m = fields(id, 'mi', 'to', 'ac', 'n', 's', 'ch')
    local state = state_in(id, STATE.queued, m[5])
    dequeue(id, channel)
    if state == STATE.queued then keep_channel(id, m[6], channel) end
    local accepted = state == STATE.queued and number(id, m[3], ages.sent)
    if state ~= STATE.queued then
      -- Not a message that waits: nothing to send.
    elseif is_disputed(accepted, ages) then
      requeue(id, channel, tonumber(now) + look_again, m[3], aside == 1)
    elseif accepted < ages.failed then
      fail(id, channel, 'worker', m[1], state, too_old, too_old_text, now)
      failed[#failed + 1] = { channel, m[1], 0 }
    elseif m[2] and opted_out('oo', channel, m[2]) then
      fail(id, channel, 'worker', m[1], state, out, out_text, now)
      failed[#failed + 1] = { channel, m[1], 1 }
    else
      -- In no state: nobody knows whether it was sent, so it has no row.
      local text = m[5] == state and text_at(P .. 'd:' .. id) or ''
      local row = string.match(text, '^[^\n]*')
      if not left_for_a_newer(id, channel, m[3], row, aside == 1) then
        got = got + begin(id, channel, m, row, aside, text)
      end
    end
  end
  count(channel, 'queued', -got, 'attempting', got)
  return got
end

-- What was never tried is due when it was accepted: those about whose age the clocks disagree stay where
-- they are.
local function due(queue, channel, room, ages)
  local from = queue == 'q:' and ages.failed < ages.sent and ages.sent or '-inf'
  return call('ZRANGEBYSCORE', P .. queue .. channel, from, now, 'LIMIT', 0, room)
end

-- While fresh messages wait, what was tried before gets no more than its share in the first round; what
-- nobody else wants goes to it too. What is passed over makes room for those behind it, but no more than a
-- quarter of the patience before the fresh ones had their turn. Answers how many more may be passed over.
local function serve(channel, ages, room, retries, aside, patience)
  local quarter = math.ceil(patience / 4)
  local rounds = { { 'rq:', retries, 0, quarter }, { 'aq:', aside, 1, quarter },
    { 'q:', room, 0, patience }, { 'rq:', room, 0, patience }, { 'aq:', room, 1, patience } }
  for _, round in ipairs(rounds) do
    local wanted, left = math.min(room, round[2]), math.min(patience, round[4])
    while wanted > 0 and left > 0 do
      local ids = due(round[1], channel, math.min(wanted, left), ages)
      if #ids == 0 then break end
      local got = take(channel, ages, ids, round[3])
      room, wanted = room - got, wanted - got
      patience, left = patience - #ids + got, left - #ids + got
    end
  end
  return patience
end

-- A trial: the newest message of another recipient and template than the last one, or the only one; due or
-- not, since it waits for no pause.
local NEWEST = 32
-- Where that takes long (queues count too), the best so far.
local MOST_LOOKED_AT = 1000
local looked_at = 0
local function fits(id, to)
  looked_at = looked_at + 1
  if trial ~= '2' then return 2 end
  if to == tried_to then return 0 end
  local row = text_at(P .. 'd:' .. id) or ''
  return string.find(row, tried_template, 1, true) and 1 or 2
end

local function ages_at(turn)
  return { failed = tonumber(ARGV[turn + 1]), sent = tonumber(ARGV[turn + 2]) }
end

local function best()
  local found
  for turn = FIRST_TURN, #ARGV, TURN do
    local ages = ages_at(turn)
    for lane, queue in ipairs({ 'q:', 'rq:', 'aq:' }) do
      looked_at = looked_at + 1
      local ids = call('ZRANGE', P .. queue .. ARGV[turn], 0, NEWEST - 1, 'REV')
      for _, id in ipairs(ids) do
        local m = fields(id, 'to', 'ac')
        local fit, waits = fits(id, m[1]), is_disputed(number(id, m[2], ages.sent), ages)
        if not waits and (not found or fit > found[1]) then found = { fit, turn, id, lane == 3 and 1 or 0 } end
        if fit == 2 and not waits or looked_at >= MOST_LOOKED_AT then return found end
      end
    end
  end
  return found
end

local function found_all()
  local step = ''
  if #taken > 0 then
    step = order_now()
    call('HSET', P .. 'did', replica, step, '*', step)
  end
  return { taken, failed, newer, damage, step }
end

if trial ~= '' then
  -- Of those that it comes across, some may have to be failed.
  for _ = 1, NEWEST do
    local found = best()
    if not found then break end
    local turn = found[2]
    take(ARGV[turn], ages_at(turn), { found[3] }, found[4])
    if #taken > 0 or looked_at >= MOST_LOOKED_AT then break end
  end
  return found_all()
end
local turns = (#ARGV - FIRST_TURN + 1) / TURN
-- A share each, so that nobody waits behind what another one has to get out of the way.
local patience = {}
for turn = 0, turns - 1 do patience[turn] = math.ceil(MOST_PASSED / turns) end
-- First each its share, then what the others left; one alone has all at once.
local rounds = turns > 1 and { math.ceil(most / turns), most } or { most }
for round, limit in ipairs(rounds) do
  for turn = 0, turns - 1 do
    local room = math.min(most - #taken, limit)
    if room > 0 then
      local at = FIRST_TURN + TURN * turn
      local channel, retries, aside = ARGV[at], ARGV[at + 3], ARGV[at + 4]
      if round > 1 then retries, aside = 0, 0 end
      patience[turn] =
        serve(channel, ages_at(at), room, tonumber(retries), tonumber(aside), patience[turn])
    end
  end
end
return found_all()
