-- An operator gives up what waited in the state that Redis went back to: it may have been sent. What was accepted
-- since, which has a later number, stays; so does what a process tried in vain after all that nobody tells of.
-- queue, channel, how many to pass over, most, now, the refusal as JSON and in words, none where they are to be
-- counted alone. Answers nothing where nothing is held; else how many failed or would, how many stay of those looked
-- at, how many these were, and what was folded.
local queue, channel, from, most, now, refusal, text = unpack(ARGV, 1, 7)
local counts = refusal == ''
local roll = call('HMGET', P .. 'roll', 'stage', 'cut', 'last', 'heard')
if roll[1] ~= 'held' and not counts then return false end
local cut, begun = tonumber(roll[2] or '0') or 0, roll[3] or ''
-- What had come before proves nothing of what was sent since.
if (roll[4] or '') > begun then begun = roll[4] end
if begun == '' then begun = '0' end
local failed, stay = 0, 0
-- Of what was tried later than this, its process has told, and nobody else tried it.
local untold = roll[3]
for field, step in pairs_of(P .. 'roll') do
  local who = string.match(field, '^o:(.*)$')
  if who and not call('HGET', P .. 'roll', 'a:' .. who) and untold and step > untold then untold = step end
  if string.find(field, '^l:') then untold = nil end
end
if untold == '' then untold = nil end
local ids = call('ZRANGE', P .. queue .. channel, from, from + most - 1)
for _, id in ipairs(ids) do
  local m = fields(id, 'mi', 's', 'to', 'ta')
  local state = state_in(id, STATE.queued, m[2])
  local is_told = untold and (m[4] or '') > untold
  if state == STATE.queued and ((tonumber(id) or 0) > cut or is_told) then
    stay = stay + 1
  elseif counts then
    stay = stay + 1
    if state == STATE.queued then failed = failed + 1 end
  else
    dequeue(id, channel)
    if state == STATE.queued then
      -- As after an attempt whose outcome nobody knows: evidence still counts, and it is not sent once more.
      call('HSET', key_m(id), 'rs', 1, 'ta', begun, 'pf', UNCLEAR)
      if m[3] then call('SADD', P .. 'x:' .. m[3], id) end
      fail(id, channel, 'worker', m[1], state, refusal, text, now)
      failed = failed + 1
    end
  end
end
return { failed, stay, #ids, answer() }
