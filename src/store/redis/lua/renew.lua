-- The lease of a process goes on. What it has taken and does not hold in its hands (the answer to
-- its claim was lost) goes back, a bounded number at once: the next renewal goes on.
-- replica, life (ms), now, the last claim it has made, number of claims it knows of, those claims.
-- Answers how much went back, whether the lease stood until now, and which keys are damaged.
local replica, life, now = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local last, claims = tonumber(ARGV[4]), tonumber(ARGV[5])
local known, back, freed = {}, 0, {}
local MOST_BACK = 200
for at = 6, 5 + claims do known[ARGV[at]] = true end

-- A claim made after this was asked for is not of our business.
local function is_lost(claim)
  return back < MOST_BACK and not known[claim] and (tonumber(claim) or 0) <= last
end

is_calm()
local stood = may_take(replica) and 1 or 0
call('ZADD', P .. 'replicas', redis_ms() + life, replica)
for id, claim in pairs_of(P .. 'att:' .. replica) do
  if is_lost(claim) then
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
for _, to in ipairs(freed) do weigh(to, now) end
for cid, claim in pairs_of(P .. 'ct:' .. replica) do
  if is_lost(string.match(claim, '^%d*')) then
    release_callback(replica, cid, claim, now)
    back = back + 1
  end
end
return { back, stood, damage }
