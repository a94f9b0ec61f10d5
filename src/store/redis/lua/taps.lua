-- What the person can tap, known while the message is being sent: a tap may overtake the answer.
-- replica, claim, message, taps
local replica, claim, id, taps = unpack(ARGV)
local m = fields(id, 's', 'ow')
if m[1] == STATE.attempting and m[2] == replica .. ':' .. claim then call('SET', P .. 't:' .. id, taps) end
return 1
