-- A process has put back all that it remembers (recall.lua).
-- The server this is meant for, replica, now, the last claims that it has seen (its own, anybody's), its renewal,
-- 1 where it remembers all that this state does not know, of how many processes it saw the last claim, these and
-- the claims (* of somebody unknown), then the claims that it knows of. What it has taken of others nobody knows any more: it may have been sent.
-- Answers nothing on another server; else the time, how many were given up so, and the roll.
local run, replica, now, own, seen, renewal, remembers, others = unpack(ARGV, 1, 8)
local known, lost = {}, {}
for at = 9 + 2 * others, #ARGV do known[ARGV[at]] = true end
if run_id() ~= run then return false end

for id, claim in pairs_of(P .. 'att:' .. replica) do
  if not known[claim] then
    local m = fields(id, 's', 'ch', 'to', 'ow')
    local state = state_in(id, STATE.attempting, m[1])
    if state == STATE.attempting and is_of(m[4], replica .. ':' .. claim) then
      local said = 'Redis went back to an older state, and nobody remembers this attempt'
      if not m[2] then
        set_aside(id, now)
      elseif not counts_earlier(id, m[2], said, now) then
        lose(id, m[2], 'successor', tonumber(now) + HOLD, said, now)
      end
      lost[#lost + 1] = m[3]
    end
    call('HDEL', P .. 'att:' .. replica, id)
  end
end
-- Only when all are marked: two to the same person prove nothing.
for _, to in ipairs(lost) do infer_receipt(to, now) end

local roll, time = P .. 'roll', whole(redis_ms())
local is_called = call('GET', P .. 'gate') == 'roll:' .. run
local function is_higher(step, key, field) return step > (call('HGET', key, field) or '') end

-- What others claimed and this state does not know: it knows all claims up to its last one.
for at = 9, 7 + 2 * others, 2 do
  local one, step = ARGV[at], ARGV[at + 1]
  -- Whoever saw less takes nothing back.
  local is_news = is_called and one ~= replica and is_higher(step, roll, 'last') and is_higher(step, roll, 'o:' .. one)
  if is_news then call('HSET', roll, 'o:' .. one, step) end
end
if is_called then
  call('HSET', roll, 'a:' .. replica, time, 'w:' .. replica, time)
  if remembers ~= '1' then call('HSET', roll, 'l:' .. replica, 1) end
  if is_higher(seen, roll, 'seen') then call('HSET', roll, 'seen', seen) end
end
for field, step in pairs({ [replica] = own, ['*'] = seen }) do
  if is_higher(step, P .. 'did', field) then call('HSET', P .. 'did', field, step) end
end
local before = tonumber(call('HGET', P .. 'did', 'n:' .. replica) or '0') or 0
call('HSET', P .. 'did', 'n:' .. replica, whole(math.max(renewal, before)))
-- Steps to come are later than those that were seen.
if seen ~= '' and seen > (text_at(P .. 'oseq') or '') then call('SET', P .. 'oseq', seen) end
return { time, #lost, call('HGETALL', roll) }
