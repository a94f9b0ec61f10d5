-- Write C: the end of an attempt, with everything that hangs on it.
-- Of each: replica, claim, channel, message, now, what the provider answered, the step, then by step:
--   receipt: provider id, conversation, taps        retry: due, proof, "1" when put aside
--   fail: the refusal as JSON, in words, proof      lose: until, taps
-- The claim is the fence: nobody else has claimed the message as long as it stands in the row, so
-- what is known about that attempt counts, also when the lease ran out and another process has put
-- the message down as unknown meanwhile.
local replica, claim, channel, id, now, said, step, first, second, third
local mine, state, msg_id, to, accepted, who, after

-- The person may have it, whoever settles it in the end.
local function keep_taps(taps)
  if taps ~= '' then call('SET', P .. 't:' .. id, taps) end
end

local function receipt(provider_id, conversation)
  if after == STATE.accepted then
    if conversation == '' then
      receive(id, channel, who, state, step, provider_id, now)
    else
      receive(id, channel, who, state, step, provider_id, now, 'cv', conversation)
    end
    note(id, now, 'receipt', provider_id)
    match_early(id, provider_id, now)
  elseif call('SET', P .. 'p:' .. provider_id, id, 'NX') then
    -- Sent once more by another process meanwhile: the statuses of this one belong here too.
    call('SADD', P .. 'ps:' .. id, provider_id)
    note(id, now, 'receipt', provider_id .. ' (of an earlier attempt)', HISTORY_LIMIT)
    match_early(id, provider_id, now)
  end
end

local function without_receipt()
  call('HSET', key_m(id), 'un', mine)
  if state == STATE.attempting and counts_earlier(id, channel, said, now) then return end
  call('ZREM', P .. 'u', id)
  if step == 'retry' then
    move(id, channel, who, state, step)
    clear(id)
    call('HSET', key_m(id), 'pf', second)
    requeue(id, channel, first, accepted, third == '1')
    note(id, now, 'retry', said, HISTORY_LIMIT)
  elseif step == 'fail' then
    call('HSET', key_m(id), 'pf', third)
    fail(id, channel, who, msg_id, state, first, second, now)
  else
    lose(id, channel, who, first, said, now)
  end
end

-- Whether any status waits for its receipt: where none does, nobody's outcome can be inferred.
local is_any_unmatched
local function may_infer()
  if is_any_unmatched == nil then is_any_unmatched = call('EXISTS', P .. 'ez') == 1 end
  return is_any_unmatched
end

local function settle(from, last)
  replica, claim, channel, id, now, said, step, first, second, third = unpack(ARGV, from, last)
  mine, folded, damage = replica .. ':' .. claim, nothing_folded(), {}
  -- Said again after the answer was lost, this may be the end of an older claim of ours.
  if call('HGET', P .. 'att:' .. replica, id) == claim then call('HDEL', P .. 'att:' .. replica, id) end
  local kept, owner, ended
  state, kept, msg_id, to, owner, accepted, ended = unpack(fields(id, 's', 'ch', 'mi', 'to', 'ow', 'ac', 'un'), 1, 7)
  -- The answer to this very call may have been lost before.
  if ended == mine then return answer() end
  if not COUNTER[state] and owner ~= mine then
    -- Gone, or in no state and not ours.
    damaged(key_m(id))
    return answer()
  end
  state = state_in(id, STATE.attempting, state)
  keep_channel(id, kept, channel)
  who = is_of(owner, mine) and 'holder' or 'former'
  after = state_after(who, state, step)
  if step == 'receipt' then keep_taps(third) elseif step == 'lose' then keep_taps(second) end
  if step == 'receipt' then
    receipt(first, second)
  elseif after then
    without_receipt()
  end
  -- The end of this attempt may be what an unknown send of the same person waited for.
  if may_infer() then infer_receipt(to, now) end
  return answer()
end
return each(settle)
