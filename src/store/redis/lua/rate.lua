-- The rate of one account, on the clock of Redis. Everything a replica has to say and to ask in one
-- step: calls under way, slots that were not used, "too many" answers, a new rate, new slots.
--
-- KEYS[1]  what all keys of the account begin with
-- ARGV     1 replica, 2 number of this step, 3 its calls under way, 4 and 5 the rate it knows (calls
--          a second or "off", calls at once), 6 "" or "start" or "set" (that rate comes into force),
--          7 slots wanted, 8 "1" when these are calls under way from now on, 9 no slot sooner than
--          this, 10 and none later than that after it, 11 how late this replica may start after its
--          slot, 12 "1" when the provider said "too many", 13 "" or how long it wants a pause or
--          "end" (an operator ends one), 14 calls that ended here since the last step and were not
--          answered with "too many", 15 how late it may start after its slot as it reads the clock
--          itself; then pairs of an unused slot and what was free after it. Times are microseconds.
-- Answers  now, what is free next, when it opens, calls under way elsewhere, calls at once, calls a
--          second, those in force, what is left of a pause, slots.

local SECOND = 1000000
local FORGOTTEN = 10 * SECOND -- a replica that did not speak for so long is gone
local RECOVERY = 0.05         -- of the rate, a second
local LEAST = 1 / 64          -- of the rate
local LEAST_RATE = 1          -- calls per second, where no rate is set
local STEP_BACK = 0.9         -- what remains of such a temporary rate at most
local LONGEST = 3600 * SECOND -- a pause
local MOST_LATE = 400000      -- a start after its slot, at whatever replica
local SLEW = 500              -- what a clock that is being corrected gains in a second, at most
local TURN = 200              -- times what a change of hands costs a replica goes on, while others wait
local LONGEST_TURN = 4 * SECOND

-- The first version named the key of the rate `pace`; replicas of it still read it.
local key, calls = KEYS[1] .. 'pace', KEYS[1] .. 'calls'
local me, step, flight = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * SECOND + tonumber(time[2])

-- A key of another type is as good as lost.
local function call(command, key, ...)
    local answer = redis.pcall(command, key, ...)
    if not answer.err then return answer end
    if string.find(answer.err, 'WRONGTYPE', 1, true) then redis.call('DEL', key) end
    return redis.call(command, key, ...)
end

-- Calls under way elsewhere. An older step that comes late must not undo a newer one.
local others, elsewhere = 0, call('HGETALL', calls)
for i = 1, #elsewhere, 2 do
    local count, at, ends = string.match(elsewhere[i + 1], '^(%d+) (%d+) (%d+)$')
    if not count then -- nothing that we write
        redis.call('HDEL', calls, elsewhere[i])
    elseif elsewhere[i] == me then
        if tonumber(at) >= step then return redis.error_reply('STALE an older step came late') end
    elseif tonumber(ends) <= now then
        redis.call('HDEL', calls, elsewhere[i])
    else
        others = others + tonumber(count)
        if tonumber(ends) > now + FORGOTTEN then -- the clock was set back
            ends = string.format('%.0f', now + FORGOTTEN)
            redis.call('HSET', calls, elsewhere[i], count .. ' ' .. at .. ' ' .. ends)
        end
    end
end

local kept = call('HMGET', key, 'next', 'gap', 'rate', 'most', 'factor', 'factor_at',
    'halved_at', 'wait_until', 'wait', 'late', 'late_at', 'recent', 'temporary', 'own', 'own_at', 'owner',
    'sooner', 'left', 'turn', 'used')
local next, last_gap = tonumber(kept[1]), tonumber(kept[2]) or 0
local rate, most = kept[3], tonumber(kept[4]) or tonumber(ARGV[5])
-- What is no rate is not "no limit".
local paced = tonumber(rate) or 0
if rate ~= 'off' and not (paced > 0 and paced <= SECOND) then rate = ARGV[4] end
local factor, factor_at = tonumber(kept[5]) or 1, tonumber(kept[6]) or now
local halved_at = tonumber(kept[7]) or 0
-- What was left of a pause when it was last looked at bounds it, should the clock be set back.
local wait = math.max(0, math.min((tonumber(kept[8]) or 0) - now, tonumber(kept[9]) or 0))
local late, late_at = tonumber(kept[10]) or 0, tonumber(kept[11]) or now

-- A replica's own slots are apart by what its timers need. Where another one goes on there is room for
-- how inexactly both know this clock, too: `next` has it, unless it is asked for by who had the last slot.
local mine, timers, wanted = tonumber(ARGV[11]), tonumber(ARGV[15]), tonumber(ARGV[7])
if mine >= late or now - late_at > FORGOTTEN or late_at > now then late, late_at = mine, now end
local own, own_at = tonumber(kept[14]) or SECOND, tonumber(kept[15]) or now
local owner, sooner, turn = kept[16], tonumber(kept[17]) or 0, tonumber(kept[19]) or 0
local used = tonumber(kept[20]) or 0 -- what the timers of who had the last slot needed then
local foreign = next ~= tonumber(kept[18]) -- left by a version that does not know of this
if wanted > 0 and (timers <= own or now - own_at > FORGOTTEN or own_at > now) then
    local more = math.max(0, math.min(own, late) - timers)
    if next then next, sooner = next + more, sooner + more end
    own, own_at = timers, now
end
local change = math.max(0, late - own)
if next and foreign then
    owner, next, sooner = '', next + change, 0
elseif next and owner == me then
    next, sooner = next - sooner, 0
end

-- What was taken lately: since when it is counted, in that second, in the one before.
local since, taken, before = string.match(kept[12] or '', '^(%d+) (%-?%d+) (%-?%d+)$')
since, taken, before = tonumber(since) or now, tonumber(taken) or 0, tonumber(before) or 0
if now - since >= 2 * SECOND or since > now then
    since, taken, before = now, 0, 0
elseif now - since >= SECOND then
    since, taken, before = since + SECOND, 0, taken
end
taken = taken + tonumber(ARGV[14])

-- What stands for a rate where none is set, and what it ends at; both grow with `factor_at`.
local passed = math.max(0, now - factor_at) / SECOND
local temporary, ends = string.match(kept[13] or '', '^(%S+) (%S+)$')
temporary, ends = tonumber(temporary), tonumber(ends)
if not (temporary and ends and temporary > 0 and ends <= SECOND) then temporary, ends = nil, 0 end
if temporary then temporary = temporary * (1 + RECOVERY) ^ passed end
if temporary and temporary >= ends then temporary, ends = nil, 0 end
if factor < 1 then factor = math.min(1, factor + passed * RECOVERY) end
factor_at = now
if ARGV[12] == '1' and (now - halved_at >= SECOND or halved_at > now) then
    halved_at = now
    if rate ~= 'off' then
        factor = math.max(LEAST, factor / 2)
    else
        local lately = math.max(0, taken + before * (1 - (now - since) / SECOND))
        if temporary then lately = math.max(temporary / 2, math.min(lately, temporary * STEP_BACK)) end
        temporary = math.max(LEAST_RATE, lately)
        ends = math.max(ends, 2 * temporary)
    end
end
if ARGV[13] == 'end' then
    wait = math.min(wait, SECOND)
elseif ARGV[13] ~= '' then
    wait = math.min(LONGEST, math.max(wait, tonumber(ARGV[13])))
end

local set = ARGV[6] == 'set' or ARGV[6] == 'start' and (rate ~= ARGV[4] or most ~= tonumber(ARGV[5]))
if set then rate, most, factor, temporary = ARGV[4], tonumber(ARGV[5]), 1, nil end
-- An operator's rate ends a pause, a process that starts does not. A second remains: it may be the
-- one after the key was lost.
if ARGV[6] == 'set' then wait = math.min(wait, SECOND) end
local a_second = temporary
if rate ~= 'off' then a_second = tonumber(rate) * factor end
local gap, widest = 0, 0
if a_second then
    gap = math.ceil((SECOND + SLEW + timers) / a_second)
    widest = math.ceil((SECOND + SLEW + late) / a_second) + change
end

-- A slot that nobody used is free again when no later one was handed out.
for i = 16, #ARGV, 2 do
    if next == tonumber(ARGV[i + 1]) then next = tonumber(ARGV[i]) end
end
if not next then
    -- The key is new or was lost: others may hold slots that nobody remembers, and be late.
    next, last_gap = now + SECOND + MOST_LATE + widest, MOST_LATE + widest
    wait = math.max(wait, SECOND)
else
    -- The clock was set back.
    next = math.min(next, now + SECOND + last_gap)
    if set then next = math.min(next, now + SECOND + widest) end
end
local wait_until = now + wait
-- Its slots were for more lateness than those from now on, which must not follow too soon.
if owner == me and wanted > 0 and timers < used then
    next, used = next + used - timers, timers
end

local counted = ARGV[8] == '1'
if counted then wanted = math.min(wanted, most - others - flight) end
local first = now + tonumber(ARGV[9])
local final = first + tonumber(ARGV[10])
-- A change of hands is worth its cost when the turn is over, or the others let slots pass.
local over = math.min(turn, next) + math.min(TURN * change, LONGEST_TURN)
if counted and a_second and change > 0 and owner ~= me and next > now then
    if math.max(next, first) < over then wanted = 0 end
    final = math.max(final, math.min(next, now + SECOND)) -- or it would never be the first to ask
end
local slots = {}
while #slots < wanted do
    if not a_second then
        if wait_until > final then break end
        slots[#slots + 1] = wait > 0 and wait_until or 0
    else
        if math.max(next, wait_until) > final then break end
        local slot = math.max(next, first, wait_until)
        slots[#slots + 1], next, last_gap = slot, slot + gap, gap
        if owner ~= me then owner, turn = me, slot end
        used = timers
    end
end

if counted then flight = flight + #slots end
local entry = string.format('%.0f %.0f %.0f', flight, step, now + FORGOTTEN)
redis.call('HSET', calls, me, entry)
local after = next
if owner == me then after, sooner, last_gap = next + change, change, gap + change end
redis.call('HSET', key, 'next', after, 'left', after, 'sooner', sooner, 'own', own, 'own_at', own_at,
    'owner', owner or '', 'turn', turn, 'used', used, 'gap', last_gap, 'rate', rate, 'most', most, 'factor', factor,
    'factor_at', factor_at, 'halved_at', halved_at, 'wait_until', wait_until, 'wait', wait,
    'late', late, 'late_at', late_at, 'recent', string.format('%.0f %.0f %.0f', since, taken, before),
    'temporary', temporary and string.format('%.6f %.6f', temporary, ends) or '')
local opens = wait > 0 and wait_until or 0
if a_second then opens = math.max(next, opens) end
return { now, next, opens, others, most, rate, tostring(a_second or 'off'), wait, slots }
