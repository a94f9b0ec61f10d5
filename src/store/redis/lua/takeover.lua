-- Takes over from processes whose lease is over, or from the one named: what they were sending is
-- unknown, unless an event proves it; what they were relaying is due.
-- replica to leave or nothing, now, most, then channel and hold (ms) of each.
-- From others nothing while no work is handed out: what they sent may not be put back yet.
-- Answers how many sends, whether there is more, what was folded.
local leaving, now, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local holds, lost, done = {}, {}, 0
for at = 4, #ARGV, 2 do holds[ARGV[at]] = tonumber(ARGV[at + 1]) end

local function take_over(replica)
  for id, claim in pairs_of(P .. 'att:' .. replica) do
    if done >= most then return end
    done = done + 1
    local m = fields(id, 's', 'ch', 'to', 'ow')
    local state = state_in(id, STATE.attempting, m[1])
    if state == STATE.attempting and is_of(m[4], replica .. ':' .. claim) then
      local said = 'the process ended during the attempt'
      if not m[2] then
        set_aside(id, now)
      elseif not counts_earlier(id, m[2], said, now) then
        lose(id, m[2], 'successor', tonumber(now) + (holds[m[2]] or HOLD), said, now)
      end
      lost[#lost + 1] = m[3]
    end
    call('HDEL', P .. 'att:' .. replica, id)
  end
  for cid, claim in pairs_of(P .. 'ct:' .. replica) do
    if done >= most then return end
    done = done + 1
    release_callback(replica, cid, claim, now)
  end
  call('ZREM', P .. 'replicas', replica)
  done = done + 1
end

if leaving ~= '' then
  take_over(leaving)
elseif not is_calm() and is_open() then
  for _, replica in ipairs(call('ZRANGEBYSCORE', P .. 'replicas', '-inf', redis_ms())) do
    if done >= most then break end
    take_over(replica)
  end
end
-- Only when all are marked: two to the same person prove nothing.
for _, to in ipairs(lost) do infer_receipt(to, now) end
return { #lost, done >= most and 1 or 0, answer() }
