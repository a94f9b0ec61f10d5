-- An operator gives up what waits in a channel: channel, most, now, the refusal as JSON and in words.
-- The oldest first. Answers how many, and what was folded.
local channel, most, now, refusal, text = unpack(ARGV, 1, 5)
local failed = 0
for _, queue in ipairs({ 'q:', 'rq:', 'aq:' }) do
  local room = tonumber(most) - failed
  local ids = room > 0 and call('ZRANGE', P .. queue .. channel, 0, room - 1) or {}
  for _, id in ipairs(ids) do
    local m = fields(id, 'mi', 's')
    local state = state_in(id, STATE.queued, m[2])
    dequeue(id, channel)
    if state == STATE.queued then
      fail(id, channel, 'worker', m[1], state, refusal, text, now)
      failed = failed + 1
    end
  end
end
return { failed, answer() }
