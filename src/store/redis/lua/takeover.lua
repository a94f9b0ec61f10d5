-- Takes over from processes whose lease is over, or from the one named: what they were sending is
-- unknown, unless an event proves it; what they were relaying is due.
-- replica to leave or nothing, now, most, then channel and hold (ms) of each.
-- Answers how many sends, whether there is more, what was folded.
local leaving, now, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local holds, lost, more = {}, {}, 0
for at = 4, #ARGV, 2 do holds[ARGV[at]] = tonumber(ARGV[at + 1]) end

local function take_over(replica)
  for id, claim in pairs_of(P .. 'att:' .. replica) do
    if #lost >= most then return end
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
  local released = 0
  for cid, claim in pairs_of(P .. 'ct:' .. replica) do
    if released >= most then
      more = 1
      return
    end
    release_callback(replica, cid, claim, now)
    released = released + 1
  end
  call('ZREM', P .. 'replicas', replica)
end

if leaving ~= '' then
  take_over(leaving)
elseif not is_calm() then
  for _, replica in ipairs(call('ZRANGEBYSCORE', P .. 'replicas', '-inf', redis_ms())) do
    take_over(replica)
  end
end
-- Only when all are marked: two to the same person prove nothing.
for _, to in ipairs(lost) do weigh(to, now) end
if #lost >= most then more = 1 end
return { #lost, more, answer() }
