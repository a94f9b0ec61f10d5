-- Write C: the end of an attempt, with everything that hangs on it.
-- replica, claim, message, now, what the provider answered, kind, then by kind:
--   accepted: provider id, conversation, taps       retry: due
--   failed: the refusal as JSON, in words           unknown: until, taps
-- The claim is the fence: nobody else has claimed the message as long as it stands in the row, so
-- what is known about that attempt counts, also when the lease ran out and another process has put
-- the message down as unknown meanwhile.
local replica, claim, id, now, said, kind = unpack(ARGV, 1, 6)
-- Said again after the answer was lost, this may be the end of an older claim of ours.
if call('HGET', P .. 'att:' .. replica, id) == claim then call('HDEL', P .. 'att:' .. replica, id) end
local m = call('HMGET', key_m(id), 's', 'ch', 'mi', 'to', 'ow', 'ac', 'lo', 'un')
local state, channel, msg_id, to, owner, accepted, lost, ended = unpack(m)
-- The answer to this very call may have been lost before.
if not state or ended == replica .. ':' .. claim then return answer() end
local mine = owner == replica .. ':' .. claim
local under_way = mine and state == STATE.attempting
local put_down = mine and state == STATE.unknown

local function keep_taps(taps)
  if taps ~= '' then call('SET', P .. 't:' .. id, taps) end
end

if kind == 'accepted' then
  local provider_id, conversation, taps = unpack(ARGV, 7, 9)
  -- A receipt always counts, whoever brings it and however late.
  local late = state == STATE.unknown or (state == STATE.failed and lost == '1')
  if state == STATE.queued then
    -- To be sent once more, and now it need not be.
    late = true
    dequeue(id, channel)
  end
  if under_way or late then
    receive(id, channel, to, state, under_way and 'receipt' or 'evidence', provider_id, now)
    if conversation ~= '' then call('HSET', key_m(id), 'cv', conversation) end
    note(id, now, 'receipt', provider_id)
    keep_taps(taps)
    match_early(id, provider_id, now)
  elseif call('SET', P .. 'p:' .. provider_id, id, 'NX') then
    -- Sent once more by another process meanwhile: the statuses of this one belong here too.
    call('SADD', P .. 'ps:' .. id, provider_id)
    note(id, now, 'receipt', provider_id .. ' (of an earlier attempt)', HISTORY_LIMIT)
    match_early(id, provider_id, now)
  end
elseif kind == 'retry' and (under_way or put_down) then
  move(id, channel, state, under_way and 'retry' or 'resend')
  call('ZREM', P .. 'u', id)
  call('SREM', P .. 'x:' .. to, id)
  requeue(id, channel, ARGV[7], accepted)
  call('HSET', key_m(id), 'un', owner)
  note(id, now, 'retry', said, HISTORY_LIMIT)
elseif kind == 'failed' and (under_way or put_down) then
  call('ZREM', P .. 'u', id)
  call('SREM', P .. 'x:' .. to, id)
  fail(id, channel, msg_id, state, ARGV[7], ARGV[8], 0, now)
elseif kind == 'unknown' and under_way then
  lose(id, channel, ARGV[7], said, now)
  call('HSET', key_m(id), 'un', owner)
  keep_taps(ARGV[8])
end
-- The end of this attempt may be what an unknown send of the same person waited for.
weigh(to, now)
return answer()
