-- The lease of a process goes on. What it has taken and never heard of (the answer to its claim was lost)
-- goes back, a bounded number at once: the next renewal goes on. A server that is not the one that handed out
-- work, or did not come as far as this process saw it come, calls the roll instead.
-- replica, life (ms), now, the last claim it has made, the last claims that it has seen (its own, anybody's),
-- the server that it knows, this renewal, the last one whose answer it heard; then, each after their number,
-- claims whose answer was lost, claims it knows of, who else had a lease, and the channels of the account.
-- Answers how much went back, whether the lease stood until now, which keys are damaged; then where it stands (0
-- work is handed out, 1 what this process remembers is to be put back, 2 that is done, others are waited for),
-- the server, anybody's last claim, who has a lease with their last claims, the process' last claim and renewal that the server knew,
-- the time and the roll.
local replica, life, now, last = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local own, seen, run, renewal, heard = unpack(ARGV, 5, 9)
local back, freed, at = 0, {}, 10
local OPEN, CALLED, ANSWERED = 0, 1, 2
local MOST_BACK, MOST_DID = 200, 200

local function next_set()
  local set, ends = {}, at + ARGV[at]
  for place = at + 1, ends do set[ARGV[place]] = true end
  at = ends + 1
  return set
end
local lost, known, others, channels = next_set(), next_set(), next_set(), next_set()

-- Of a callback: a claim made after this was asked for is not of our business.
local function is_unknown(claim)
  return not known[claim] and (tonumber(claim) or 0) <= last
end

-- Once it was sent, a state of long ago may call a message taken. So only what never came to hand goes back.
local function give_back()
  for id, claim in pairs_of(P .. 'att:' .. replica) do
    if back < MOST_BACK and lost[claim] then
      local m = fields(id, 's', 'ch', 'to', 'ow', 'ac')
      local state = state_in(id, STATE.attempting, m[1])
      if state == STATE.attempting and is_of(m[4], replica .. ':' .. claim) then
        local said = 'taken, but never given to a sender'
        if not m[2] then
          set_aside(id, now)
        elseif not counts_earlier(id, m[2], said, now) then
          move(id, m[2], 'holder', state, 'retry')
          clear(id)
          requeue(id, m[2], now, m[5])
          note(id, now, 'retry', said, HISTORY_LIMIT)
        end
        freed[#freed + 1] = m[3]
      end
      call('HDEL', P .. 'att:' .. replica, id)
      back = back + 1
    end
  end
  -- What they stood in the way of.
  for _, to in ipairs(freed) do infer_receipt(to, now) end
  for cid, claim in pairs_of(P .. 'ct:' .. replica) do
    if back < MOST_BACK and is_unknown(string.match(claim, '^%d*')) then
      release_callback(replica, cid, claim, now)
      back = back + 1
    end
  end
end

-- Of processes that are gone for long.
local function prune()
  local did = P .. 'did'
  if call('HLEN', did) <= MOST_DID then return end
  local old = whole(redis_us() - 1200 * 1000000)
  for field, step in pairs_of(did) do
    local of = string.match(field, '^n:(.*)$')
    local is_old = not of and step < old or of and not call('HGET', did, of)
    if field ~= '*' and is_old and not call('ZSCORE', P .. 'replicas', of or field) then call('HDEL', did, field) end
  end
end

-- Whether one of a queue came before the last claim that was seen: messages and claims are numbered by one clock.
local function is_old(queue)
  for _, id in ipairs(call('ZRANGE', queue, 0, 99)) do
    if #id == #seen and id < seen then return true end
  end
  return false
end

-- How many wait that may have been sent. A server that knows of no claim was wiped, or is older than any; what
-- it was given since the last claim that was seen was sent by nobody.
local function waiting(last)
  local n = 0
  for channel in pairs(channels) do
    for _, queue in ipairs({ 'q:', 'rq:', 'aq:' }) do
      local key = P .. queue .. channel
      if last ~= '' or is_old(key) then n = n + call('ZCARD', key) end
    end
  end
  return n
end

-- What a roll call that is not over knows stays known, and what is held stays held. What waits now, up to which number and after which claim, is what waited in the state
-- that the server went back to, if it did.
local function begin(roll, here, time)
  local before = {}
  for field, value in pairs_of(roll) do before[field] = value end
  local last = call('HGET', P .. 'did', '*') or ''
  if not before.began then
    before = { waiting = waiting(last), cut = text_at(P .. 'seq') or '0', last = last, seen = '',
      heard = text_at(P .. 'oseq') or '' }
  elseif last < (before.last or '') then
    before.last, before.waiting = last, math.max(number(roll, before.waiting, 0), waiting(last))
  end
  call('DEL', roll)
  call('HSET', roll, 'run', here, 'began', time, 'waiting', before.waiting or 0, 'cut', before.cut or '0',
    'last', before.last or '', 'seen', before.seen or '', 'heard', before.heard or '')
  if before.stage then call('HSET', roll, 'stage', before.stage, 'held', before.held or time) end
  -- What was seen of who does not answer, and what nobody remembers. Whoever answered does not see it anew.
  for field, value in pairs(before) do
    if string.find(field, '^[ol]:') then call('HSET', roll, field, value) end
  end
  for _, one in ipairs(call('ZRANGE', P .. 'replicas', 0, -1)) do call('HSET', roll, 'w:' .. one, time) end
  for one in pairs(others) do call('HSET', roll, 'w:' .. one, time) end
end

local function stand(here, is_sound)
  local gate, roll = call('GET', P .. 'gate'), P .. 'roll'
  if is_sound and (not gate or gate == here) then
    if not gate then call('SET', P .. 'gate', here) end
    -- The roll was called and is over, and this process was not heard.
    return run ~= '' and run ~= here and CALLED or OPEN
  end
  local time, shut = whole(redis_ms()), 'roll:' .. here
  if gate ~= shut or call('HGET', roll, 'run') ~= here then
    begin(roll, here, time)
    call('SET', P .. 'gate', shut)
  end
  -- Whoever began it may have seen no claim at all.
  if seen ~= '' and call('HGET', roll, 'last') == '' and call('HGET', roll, 'waiting') == '0' then
    call('HSET', roll, 'waiting', waiting(''))
  end
  call('HSET', roll, 'w:' .. replica, time)
  if is_sound and call('HGET', roll, 'a:' .. replica) then return ANSWERED end
  call('HDEL', roll, 'a:' .. replica)
  return CALLED
end

is_calm()
local stood = may_take(replica) and 1 or 0
call('ZADD', P .. 'replicas', redis_ms() + life, replica)
local did = call('HMGET', P .. 'did', replica, 'n:' .. replica, '*')
local known_renewal = tonumber(did[2] or '0') or 0
local here = run_id()
local place = stand(here, known_renewal >= tonumber(heard) and is_as_seen(replica, own, seen))
if place == OPEN then
  call('HSET', P .. 'did', 'n:' .. replica, whole(math.max(renewal, known_renewal)))
  prune()
  give_back()
end
local living = {}
for at, one in ipairs(call('ZRANGEBYSCORE', P .. 'replicas', redis_ms(), '+inf')) do
  living[at] = { one, call('HGET', P .. 'did', one) or '' }
end
return { { back, stood, damage },
  { place, here, did[3] or '', living, { did[1] or '', known_renewal }, { redis_ms(), call('HGETALL', P .. 'roll') } } }
