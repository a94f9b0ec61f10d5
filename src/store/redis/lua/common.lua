-- Shared by all steps. KEYS[1] is what every key of the account begins with; its hash tag keeps them
-- on one node. RIGHTS (by writer, state and step), COUNTER, FOLDS and the names of states come from
-- `domain` (scripts.rs), so who may do what, and what follows, is written down once.
--
-- Keys, each after the prefix:
--   seq, cseq, oseq     the last number of a message, of a callback, of a step (`order_now`)
--   i:CHANNEL:MSG_ID    number of the message
--   m:N                 hash: its small fields     d:N  its row, then its history, a line each
--   t:N                 what the person can tap
--   q:CHANNEL           queued, by due             rq:CHANNEL  the same for what was tried before
--   aq:CHANNEL          the same for what was put aside
--   ra:CHANNEL          tried before, by accept    u    unknown, by the end of the hold
--   done                settled, by when           l:CHANNEL   the ledger; uncounted, uncounted_*: see `uncount`
--   r:PHONE             to a person, by accept     x:PHONE  those in doubt: being sent, unknown, lost
--   p:PROVIDER_ID       number of the message      ps:N  further ids of a message
--   num  channel -> the last `from` that MoEngage named
--   e:PROVIDER_ID       statuses that match nothing yet, in order; ez: all such ids, by the first
--   er:PHONE            such ids that name the person   ask  such ids not looked for elsewhere yet
--   oe:CHANNEL          the last 1000 events that are not relayed, by when
--   oo:CHANNEL          opted out of all messages  om:CHANNEL  of promotions
--   ol:CHANNEL          who ever opted out or in, as oo:NAME or om:NAME, in the order of these texts
--   os:CHANNEL          hash: the same -> when|how|what (1: none) they said last; an older program does not write it
--   od                  the same behind CHANNEL|, which Datastore does not have, by when it is to be told
--   rs                  replies seen, by when
--   al                  what else people are called (design.md section 13): the canonical other number, or the user
--                       id -> the number dialled; = and a canonical number -> the other one; @ and the same -> the
--                       user id
--   c:N                 a callback: order|message|tries|created|row
--   co:LANE:CHANNEL:ORDER  callbacks of one message (person, by `key_of`), in order; the first is ready or taken
--   cr:LANE:CHANNEL     ready, by due              dl:LANE:CHANNEL  dead letters, by age
--   dm:N                dead letters of a message  dr  dead letter -> reason
--   replicas            processes by the end of their lease (Redis' clock, ms)
--   beat                when somebody last renewed or looked for dead processes    calm  nobody is taken for dead
--   channels            all channels that may have something retention looks for
--   att:REPLICA         hash: message -> claim     ct:REPLICA  hash: callback -> claim|lane|channel
--   dirty               messages whose record is to be written elsewhere, by due
--   gate                the server (`run_id`) that hands out work; roll: and a server while the roll is called
--   lately              a roll call was over a moment ago
--   did                 hash: replica -> the step of its last claim, * the same of anybody; n: and a replica -> its
--                       last renewal
--   roll                hash: run, began; waiting, cut, last: how many waited then, the last number, the last claim;
--                       seen: the last claim that anybody saw; heard: the last step that it knew; w: and a replica that is called -> when it was
--                       last alive, a: and one that put back what it remembers, l: and one that does not remember
--                       all, o: and a replica (*: unknown) -> a claim of it that this state does not know; stage,
--                       held: an operator decides, since when
-- Kept by others: pace, calls (rate.lua), token, templates, lock:NAME.
local P = KEYS[1]
local HISTORY_LIMIT = 16384
-- Keys of which something is missing or not what a program of ours writes. Nobody else may notice
-- (tests/damage.rs); claims, ends, sweeps and events tell of them.
local damage = {}

local function nothing_folded()
  return { emitted = 0, superseded = 0, unmatched = 0, inferred = 0, misdated = 0, oo = 0, om = 0, conflicts = 0, wake = {} }
end
local folded = nothing_folded()

local function damaged(key) damage[#damage + 1] = key end

-- A key of another type than ours goes: nothing can be read from it or written to it, and a script
-- that fails in its middle leaves half of its work behind.
local function call(...)
  local answer = redis.pcall(...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if string.find(answer.err, 'WRONGTYPE', 1, true) then
    local key = select(2, ...)
    damaged(key)
    -- Refused to a question, which then fails.
    redis.pcall('DEL', key)
  end
  return redis.call(...)
end

-- Does a step for each of the calls that go together: the number of its arguments, then these. What
-- goes wrong in one is its answer, as text.
local function each(step)
  local answers, at = {}, 1
  while ARGV[at] do
    local last = at + ARGV[at]
    local sound, answer = pcall(step, at + 1, last)
    if not sound then answer = type(answer) == 'table' and answer.err or tostring(answer) end
    answers[#answers + 1] = answer
    at = last + 1
  end
  return answers
end

local function key_m(id) return P .. 'm:' .. id end

-- All numbers of a person, the given one first (domain/person.rs; a test compares the two).
local function numbers_of(phone)
  -- Only numbers in a few countries have another one, and most calls are about others.
  if not (string.find(phone, '^5[245]') or string.find(phone, '^22[59]')) then return { phone } end
  local six = string.rep('%d', 6)
  local ten, eight = '([1-9]%d%d%d' .. six .. ')$', '([6-9]%d' .. six .. ')$'
  local rules = {
    ['^521' .. ten] = '52%1', ['^52' .. ten] = '521%1', ['^549' .. ten] = '54%1', ['^54' .. ten] = '549%1',
    ['^55([1-9]%d)9' .. eight] = '55%1%2', ['^55([1-9]%d)' .. eight] = '55%19%2',
    ['^22901([24569]%d' .. six .. ')$'] = '229%1', ['^229([24569]%d' .. six .. ')$'] = '22901%1',
  }
  for prefix, second in pairs({ ['01'] = '[0-3]', ['05'] = '[4-6]', ['07'] = '[7-9]' }) do
    local old = '([04-9]' .. second .. six .. ')$'
    rules['^225' .. prefix .. old], rules['^225' .. old] = '225%1', '225' .. prefix .. '%1'
  end
  for spelling, rule in pairs(rules) do
    local other, found = string.gsub(phone, spelling, rule)
    if found == 1 then return { phone, other } end
  end
  return { phone }
end

-- The one number that stands for a person: the shorter one.
local function key_of(phone)
  local one, other = unpack(numbers_of(phone))
  return other and #other < #one and other or one
end

-- Whether a person opted out of a channel: of all messages (oo), of promotions (om). 0.1.0 knows an
-- opt-out by one number only.
local function opted_out(scope, channel, phone)
  for _, spelled in ipairs(numbers_of(phone)) do
    if call('SISMEMBER', P .. scope .. ':' .. channel, spelled) == 1 then return true end
  end
  return false
end

-- Values of `al`; false where there is none, or none that we write.
local function known_as(...)
  local values = call('HMGET', P .. 'al', ...)
  for at, value in ipairs(values) do
    if value and string.find(value, '[^%w._-]') then values[at] = false end
  end
  return values
end

-- The same of a name that stands for a number dialled.
local function dialled(name)
  local to = known_as(name)[1]
  return to and string.find(to, '^%d+$') and to
end

-- All numbers of a person, those too that were learnt.
local function all_numbers(phone)
  local numbers, key = numbers_of(phone), key_of(phone)
  local learnt = known_as(key, '=' .. key)
  local other = learnt[1] or learnt[2]
  for _, spelled in ipairs(other and numbers_of(other) or {}) do numbers[#numbers + 1] = spelled end
  return numbers
end

-- A number as text: `..` would round it, and Redis takes longer for what is no text.
local function whole(n) return string.format('%d', n) end

-- When something was last said under a name (oo:NAME, om:NAME), how, and what (1: wants none, 0); nothing where that
-- is not known.
local function said_at(channel, name)
  local value = call('HGET', P .. 'os:' .. channel, name)
  local at, how, out = string.match(value or '', '^(%d+)|([%w._-]+)|([01])$')
  return tonumber(at), how, out
end

-- Keeps what was said, which Datastore does not have.
local function keep_said(channel, name, out, at, how)
  call('HSET', P .. 'os:' .. channel, name, whole(at) .. '|' .. how .. '|' .. out)
  call('ZADD', P .. 'ol:' .. channel, 0, name)
  call('ZADD', P .. 'od', 0, channel .. '|' .. name)
end

-- The same. What is said later is later, whatever the clock says.
local function say(channel, name, out, at, how)
  keep_said(channel, name, out, math.max(tonumber(at), (said_at(channel, name) or -1) + 1), how)
end

-- A person opts out, by their numbers or by a user id. Answers how many of them are new there; `again` says it also
-- of who is out already.
local function opt_out(scope, channel, names, at, how, again)
  local new, done = 0, {}
  for _, name in ipairs(names) do
    local added = call('SADD', P .. scope .. ':' .. channel, name)
    if not done[name] and (again or added == 1) then say(channel, scope .. ':' .. name, '1', at, how) end
    new, done[name] = new + added, true
  end
  if new > 0 then call('SADD', P .. 'channels', channel) end
  return new
end

-- What somebody opted out of by one of these names holds for the others too, in all channels of the account.
-- `ask` is SISMEMBER, or SREM where the name is of no use any more.
local function copy_opt_outs(from, names, ask)
  for _, channel in ipairs(call('SMEMBERS', P .. 'channels')) do
    for _, scope in ipairs({ 'oo', 'om' }) do
      for _, name in ipairs(from) do
        if call(ask, P .. scope .. ':' .. channel, name) == 1 then
          local at, how = said_at(channel, scope .. ':' .. name)
          opt_out(scope, channel, names, at or 0, how or 'unknown')
          if ask == 'SREM' then say(channel, scope .. ':' .. name, '0', at or 0, how or 'unknown') end
        end
      end
    end
  end
end

-- Whether a failure, as JSON, is because the person stopped promotions.
local function opts_out(failure) return string.sub(failure, 1, #OPTED_OUT) == OPTED_OUT end

-- Small fields of a message. Those that are missing or empty are false.
local function fields(id, ...)
  local m = call('HMGET', key_m(id), ...)
  for at = 1, select('#', ...) do
    if not m[at] or m[at] == '' then m[at] = false end
  end
  return m
end

-- A text; false when there is none, or something else.
local function text_at(key)
  local text = redis.pcall('GET', key)
  return type(text) == 'string' and text
end

-- What a text says as JSON; nothing where it is none.
local function decoded(key, text)
  local sound, value = pcall(cjson.decode, text)
  if sound and type(value) == 'table' then return value end
  damaged(key)
  return {}
end

-- The number that MoEngage named in a message; empty where it cannot be read.
local function from_of(id)
  local key = P .. 'd:' .. id
  local from = decoded(key, string.match(text_at(key) or '', '^[^\n]*')).from
  return type(from) == 'string' and not string.find(from, '[\128-\255]') and from or ''
end

-- Whether the two numbers are one person's from now on.
local function is_linked(id, to, number)
  local key, other = key_of(to), key_of(number)
  local learnt = known_as(other, key, '=' .. other, '=' .. key, '@' .. other, '@' .. key)
  for at, of in ipairs({ key, other }) do
    if learnt[at] then return key_of(learnt[at]) == of end
  end
  if learnt[3] or learnt[4] or learnt[5] and learnt[6] then return false end
  -- Who sends is the brand.
  if key_of((string.gsub(from_of(id), '%D', ''))) == other then return false end
  call('HSET', P .. 'al', other, to, '=' .. key, other)
  if learnt[5] then
    call('HSET', P .. 'al', learnt[5], to, '@' .. key, learnt[5])
    call('HDEL', P .. 'al', '@' .. other)
  end
  copy_opt_outs(numbers_of(to), numbers_of(number), 'SISMEMBER')
  copy_opt_outs(numbers_of(number), numbers_of(to), 'SISMEMBER')
  return true
end

-- Whether the user id is this person's from now on.
local function is_linked_user(to, user)
  local key = key_of(to)
  local learnt = known_as(user, key)
  -- Of two numbers of one person, the one that the other is linked to.
  local root = learnt[2] and key_of(learnt[2]) or key
  if learnt[1] then return key_of(learnt[1]) == root end
  if known_as('@' .. root)[1] then return false end
  call('HSET', P .. 'al', user, learnt[2] or to, '@' .. root, user)
  copy_opt_outs({ user }, all_numbers(to), 'SREM')
  return true
end

-- What else the person of a number is called, as an event says that is certainly of this message to them: one
-- name of a kind, and nobody else's.
local function learn(id, to, number, user)
  if number ~= '' and number ~= to and key_of(number) ~= key_of(to) and not is_linked(id, to, number) then
    folded.conflicts = folded.conflicts + 1
  end
  if user ~= '' and not is_linked_user(to, user) then folded.conflicts = folded.conflicts + 1 end
end

-- The number that a field holds; the other one when there is none, or none that we write.
local function number(id, field, other)
  if field and #field <= 16 and string.find(field, '^%-?%d+$') then return tonumber(field) end
  if field then damaged(key_m(id)) end
  return other
end

-- The state of a message; of one that is in no state the one that its place says.
local function state_in(id, place, state)
  if COUNTER[state] then return state end
  damaged(key_m(id))
  -- What is no number is no message either.
  return number(id, id) and place
end

-- Whoever holds a message knows its channel.
local function keep_channel(id, kept, channel)
  if kept == channel then return end
  damaged(key_m(id))
  call('HSET', key_m(id), 'ch', channel)
end

-- Whether a message is of this claim, or its row does not say of which, and it was found there.
local function is_of(owner, claim)
  return owner == claim or not (owner and string.find(owner, '^%x+:%d+$'))
end


local function line(now, what, detail)
  if detail == nil or detail == '' then
    return '{"t":' .. now .. ',"e":"' .. what .. '"}\n'
  end
  return '{"t":' .. now .. ',"e":"' .. what .. '","d":' .. cjson.encode(detail) .. '}\n'
end

local function redis_us()
  local time = call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- What a ledger adds up from. What of it is open is counted where it stands (recount.lua); what has ended nobody
-- can count.
local SUMMED = { accepted = 'ended', accepted_by_provider = 'ended', failed = 'ended', queued = 'open', attempting = 'open', unknown = 'open' }

local function integer(text) return text and #text <= 16 and string.find(text, '^%-?%d+$') and tonumber(text) or nil end

-- How many messages a ledger misses, and whether all of it are numbers. What is none counts as 0, here and for
-- whoever reads it (ledger.rs).
local function missing(ledger)
  local counts = call('HMGET', ledger, 'accepted', 'queued', 'attempting', 'unknown', 'accepted_by_provider', 'failed')
  local left, sound = 0, true
  for at = 1, 6 do
    local n = integer(counts[at])
    if counts[at] and not n then sound = false end
    left = left + (at == 1 and 1 or -1) * (n or 0)
  end
  return left, sound
end

-- A counter was no number, or the ledger none, and counts anew: what it is off by since then is not lost, and kept
-- beside it: all but what was lost before (`lost`, as recount.lua saw it last). `uncounted_open` is the part that
-- goes once what is open was counted: a number where that one counter alone was damaged.
local function uncount(ledger, of, both)
  local left, sound = missing(ledger)
  local kept = call('HMGET', ledger, 'uncounted', 'uncounted_open', 'lost')
  local n, open = left - (integer(kept[3]) or 0), kept[2]
  if of == 'all' or both or not sound then
    open = 'all'
  elseif SUMMED[of] == 'open' and open ~= 'all' then
    open = whole((integer(open) or 0) + n - (integer(kept[1]) or 0))
  end
  call('HSET', ledger, 'uncounted', whole(n), 'uncounted_of', of, 'uncounted_at', whole(math.floor(redis_us() / 1000)))
  if open then call('HSET', ledger, 'uncounted_open', open) end
end

-- Adds to a counter. Answers which one of the sum was damaged and counts anew. Nothing is wiped where Redis refuses
-- for another reason; where it does not permit this at all no script begins (rights.rs).
local function add_to(ledger, name, n)
  local counted = redis.pcall('HINCRBY', ledger, name, whole(n))
  if type(counted) == 'number' then return nil end
  damaged(ledger)
  local is_gone = string.find(counted.err, 'WRONGTYPE', 1, true)
  if not (is_gone or string.find(counted.err, 'not an integer', 1, true) or string.find(counted.err, 'overflow', 1, true)) then
    return nil
  end
  call('HSET', ledger, name, whole(math.max(n, 0)))
  return is_gone and 'all' or SUMMED[name] and name
end

-- Counters that change together: between the two a ledger does not add up.
local function count(channel, name, n, other, m)
  local ledger = P .. 'l:' .. channel
  local one = n ~= 0 and add_to(ledger, name, n)
  local two = other and m ~= 0 and add_to(ledger, other, m)
  if one or two then uncount(ledger, one or two, one and two) end
end

-- Every change of a message passes here: its history grows (up to `limit` bytes, if given), and its
-- record is to be written elsewhere again. `text` is what stands there, where the caller has read it.
local function note(id, now, what, detail, limit, text)
  local key = P .. 'd:' .. id
  text = text or text_at(key)
  if not text then return end
  local body = string.find(text, '\n', 1, true) or 0
  if not limit or #text - body < limit then
    -- Not APPEND: it reserves twice the room.
    call('SET', key, text .. line(now, what, detail))
  end
  if MARK_DIRTY then
    -- Higher than any before, where nobody can say which that was.
    if type(redis.pcall('HINCRBY', key_m(id), 'vr', 1)) ~= 'number' then
      call('HSET', key_m(id), 'vr', whole(redis_us()))
    end
    -- A mark that somebody has taken stays hidden; the version tells them.
    call('ZADD', P .. 'dirty', 'NX', 0, id)
  end
end

-- The state after a step; nothing where this writer may not take it.
local function state_after(who, from, step)
  local right = ';' .. who .. ':' .. (from or '') .. ':' .. step .. '='
  local _, at = string.find(RIGHTS, right, 1, true)
  return at and string.sub(RIGHTS, at + 1, at + 1)
end

local function move(id, channel, who, from, step, ...)
  local to = state_after(who, from, step)
  if not to then error('a message that is ' .. from .. ' cannot ' .. step .. ' by ' .. who) end
  call('HSET', key_m(id), 's', to, ...)
  count(channel, COUNTER[from], -1, COUNTER[to], 1)
end

local function wake(channel) folded.wake[channel] = true end

local function redis_ms() return math.floor(redis_us() / 1000) end

-- The next number of a sequence, at least the time in microseconds: no number is given twice, also
-- when Redis was wiped or went back to an older state, and all are of the same length.
local function next_of(sequence)
  local key, clock = P .. sequence, whole(redis_us())
  local last = call('SET', key, clock, 'GET')
  -- Texts of one length compare as their numbers do. What is none of ours counts for nothing.
  if not last or #last ~= #clock or last < clock or string.find(last, '%D') then return clock end
  local n = whole(tonumber(last) + 1)
  call('SET', key, n)
  return n
end

-- The number of this step: what came before what, also when the clock of Redis was set back.
local step_number
local function order_now()
  step_number = step_number or next_of('oseq')
  return step_number
end

-- What is not relayed, the last of it. Answers how many went for it.
local function keep_for_people(channel, kind, raw, now)
  local key = P .. 'oe:' .. channel
  call('ZADD', key, now, next_of('cseq') .. '|' .. kind .. '|' .. raw)
  call('SADD', P .. 'channels', channel)
  return call('ZREMRANGEBYRANK', key, 0, -1 - MOST_OTHERS)
end

-- A callback whose row is gone or damaged does not say whose it is, so nobody calls the next one when it
-- ends: what comes behind it does.
local function pass_damaged(waiting, order, ready, now)
  local head, passed = call('LINDEX', waiting, 0), false
  while head and string.match(text_at(P .. 'c:' .. head) or '', '^(%d+)|%d*|%d+|%d+|') ~= order do
    damaged(P .. 'c:' .. head)
    call('LREM', waiting, 1, head)
    head, passed = call('LINDEX', waiting, 0), true
  end
  if passed and head then call('ZADD', ready, now, head) end
end

local function enqueue(channel, lane, order, id, row, now)
  local cid = next_of('cseq')
  call('SET', P .. 'c:' .. cid, order .. '|' .. id .. '|0|' .. now .. '|' .. row)
  local line, ready = P .. 'co:' .. lane .. ':' .. channel .. ':' .. order, P .. 'cr:' .. lane .. ':' .. channel
  local waiting = call('RPUSH', line, cid)
  if waiting == 1 then call('ZADD', ready, now, cid) else pass_damaged(line, order, ready, now) end
  count(channel, 'callbacks_waiting', 1)
  wake(channel)
end

-- A callback is over: the one behind it is ready.
local function leave_line(cid, lane, channel, order, now)
  count(channel, 'callbacks_waiting', -1)
  -- One that is damaged does not stand where it says.
  local line = P .. 'co:' .. lane .. ':' .. channel .. ':' .. order
  local head = call('LREM', line, 1, cid) > 0 and call('LINDEX', line, 0)
  if head then call('ZADD', P .. 'cr:' .. lane .. ':' .. channel, now, head) end
end

-- A reply as a callback. `waits` stands in one whose message may be put back: what it names, from when on the message
-- may be, since when it waits (Redis' clock), the word that it is, its text without what surrounds it, and that it is
-- told only where there is a message.
local function reply_row(at, msg_id, person, waba, text, payload, waits)
  return '{"v":' .. CALLBACK_VERSION .. ',"at":' .. at .. (waits or '')
    .. (msg_id and ',"msg_id":' .. cjson.encode(msg_id) or '')
    .. ',"inbound":{"from":' .. person .. ',"waba":' .. cjson.encode(waba)
    .. ',"text":' .. text .. ',"payload":' .. payload .. '}}'
end

-- The payload of the button whose label was tapped, as JSON.
local function tapped(id, text)
  local key = P .. 't:' .. id
  local taps = text_at(key)
  for _, tap in ipairs(taps and decoded(key, taps) or {}) do
    if type(tap) == 'table' and tap[1] == text and type(tap[2]) == 'string' then
      return cjson.encode(tap[2])
    end
  end
  return 'null'
end

-- Whether a message came after a reply, and was sent after the time (Redis' clock) from which on that waits. What was
-- accepted once more since may have been sent before.
local function came_after(id, accepted, begun, came, waited)
  return came and accepted > came and number(id, begun, math.huge) > 1000 * waited
end

-- The message of a person in doubt that has a button of this label: its id is not known yet, as a tap
-- may overtake the answer to the send. It must be the only one, and its outcome still open: what was told
-- long ago may be what was tapped, as may be what others sent, and nobody can tell.
local function tapped_in_doubt(numbers, text, since, came, waited)
  local found, open
  for _, phone in ipairs(numbers) do
    local ids = call('SMEMBERS', P .. 'x:' .. phone)
    -- Beside these there may be some that were not looked at.
    if #ids > MOST_INFERRED then return nil end
    for _, id in ipairs(ids) do
      local m = fields(id, 'ac', 'ch', 'mi', 's', 'ta')
      local accepted = m[2] and m[3] and number(id, m[1], 0)
      local young = accepted and accepted >= tonumber(since) and not came_after(id, accepted, m[5], came, waited)
      if young and tapped(id, text) ~= 'null' then
        if found then return nil end
        found, open = id, m[4] ~= STATE.accepted and m[4] ~= STATE.failed
      end
    end
  end
  return open and found or nil
end

-- The latest message to a number: the provider took it or may have; else it is being asked to, and a
-- reply may overtake its answer. With when it was accepted, and which of the two it is.
local function latest_to(phone, since, came, waited)
  local asked, asked_at
  for _, id in ipairs(call('ZREVRANGE', P .. 'r:' .. phone, 0, 99)) do
    local m = fields(id, 's', 'lo', 'ac', 'ch', 'mi', 'ta')
    local reached = m[1] == STATE.accepted or m[1] == STATE.unknown or m[2] == '1'
    local accepted = m[4] and m[5] and number(id, m[3], 0)
    local young = accepted and accepted >= tonumber(since) and not came_after(id, accepted, m[6], came, waited)
    if reached and young then return id, accepted, 1 end
    if m[1] == STATE.attempting and young and not asked then asked, asked_at = id, accepted end
  end
  return asked, asked_at, 0
end

-- The message, accepted within these times, that a reply of who has these numbers belongs to, whether the person answered that very message,
-- and whether the reply names its id, which came with its receipt.
local function answered(numbers, context, text, since, came, waited)
  if context ~= '' then
    local id = call('GET', P .. 'p:' .. context)
    local m = id and fields(id, 'ch', 'mi', 'in')
    if m and m[1] and m[2] then return id, true, not m[3] end
    local in_doubt = tapped_in_doubt(numbers, text, since, came, waited)
    if in_doubt then return in_doubt, true end
  end
  local latest, latest_at, latest_reached
  for _, phone in ipairs(numbers) do
    local id, accepted, reached = latest_to(phone, since, came, waited)
    local better = id and (not latest or reached > latest_reached
      or reached == latest_reached and accepted > latest_at)
    if better then latest, latest_at, latest_reached = id, accepted, reached end
  end
  return latest, false
end

-- What a reply to this message is told with: its channel, its msg_id, whom it went to, the number it came from, the
-- payload where it was tapped.
local function told_with(id, quoted, person, text)
  local m = fields(id, 'ch', 'mi', 'to')
  -- WhatsApp may spell the number of the same person in another way, and MoEngage knows only this one.
  return m[1], m[2], number(id, m[3]) and m[3] or person, from_of(id), quoted and tapped(id, text) or 'null'
end

-- `failure` is null or [code, reason], as JSON.
local function enqueue_status(channel, id, msg_id, status, at, failure, now)
  local row = '{"v":' .. CALLBACK_VERSION .. ',"at":' .. at .. ',"msg_id":' .. cjson.encode(msg_id)
    .. ',"status":{"status":"' .. status .. '","error":' .. failure .. '}}'
  enqueue(channel, 0, id, id, row, now)
end

-- What became of its last attempt is known. Of one that was sent twice, the first one is not, as is answered.
local function leave_doubt(id)
  local m = fields(id, 'rs', 'to')
  if m[1] == '1' then return 1 end
  if m[2] then call('SREM', P .. 'x:' .. m[2], id) end
  return 0
end

local function clear(id) call('HSET', key_m(id), 'lo', leave_doubt(id)) end

-- Given up.
local function fail(id, channel, who, msg_id, from, failure, text, now)
  move(id, channel, who, from, 'fail')
  if who == 'time' and from == STATE.unknown then
    call('HSET', key_m(id), 'lo', 1)
  else
    clear(id)
  end
  call('HSET', key_m(id), 'ts', now, 'pr', FAILED_RANK)
  call('ZADD', P .. 'done', now, id)
  note(id, now, 'failed', text)
  if msg_id then
    enqueue_status(channel, id, msg_id, 'failed', now, failure, now)
  else
    damaged(key_m(id))
  end
end

-- The same for one of which nobody knows the channel: nobody can be told.
local function set_aside(id, now)
  damaged(key_m(id))
  clear(id)
  call('HSET', key_m(id), 's', STATE.failed, 'ts', now)
  call('ZREM', P .. 'u', id)
  call('ZADD', P .. 'done', now, id)
  note(id, now, 'failed', 'its channel is missing')
end

local function dequeue(id, channel)
  if call('ZREM', P .. 'q:' .. channel, id) == 0 then
    if call('ZREM', P .. 'rq:' .. channel, id) == 0 then call('ZREM', P .. 'aq:' .. channel, id) end
    call('ZREM', P .. 'ra:' .. channel, id)
  end
end

-- Back to the queue; `aside` behind the others. Not where the message may still be in another queue.
local function requeue(id, channel, due, accepted, aside)
  call('HSET', key_m(id), 'du', due)
  call('ZADD', P .. (aside and 'aq:' or 'rq:') .. channel, due, id)
  call('ZADD', P .. 'ra:' .. channel, number(id, accepted, due), id)
end

local function lose(id, channel, who, untl, answer, now)
  move(id, channel, who, STATE.attempting, 'lose')
  call('HSET', key_m(id), 'du', untl, 'pf', UNCLEAR)
  call('ZADD', P .. 'u', untl, id)
  note(id, now, 'unknown', answer)
end

local function fold(id, status, at, failure, text, now)
  local m = fields(id, 'ch', 'mi', 'pr', 'to')
  local before = number(id, m[3], 0)
  local at_fold = (STATUS[before] and before or 0) * #STATUS + status
  local after = STATUS[status] and tonumber(string.sub(FOLDS, at_fold, at_fold))
  if not (m[1] and m[2] and after) then return damaged(key_m(id)) end
  -- Whatever MoEngage is told: it is about the person, not about this message.
  local out = m[4] and opts_out(failure) and opt_out('om', m[1], all_numbers(m[4]), now, 'status', true) > 0
  if out then folded.om = folded.om + 1 end
  if after == 0 then
    folded.superseded = folded.superseded + 1
    local said = STATUS[status] .. ' after ' .. (STATUS[before] or 'nothing')
    if out then said = said .. ': ' .. text end
    note(id, now, 'superseded', said, HISTORY_LIMIT)
    return
  end
  folded.emitted = folded.emitted + 1
  call('HSET', key_m(id), 'pr', after)
  local said = STATUS[status]
  if text ~= '' then said = said .. ': ' .. text end
  note(id, now, 'status', said, 2 * HISTORY_LIMIT)
  enqueue_status(m[1], id, m[2], STATUS[status], at, failure, now)
end

-- An unmatched status: status, its time, when it came (by the caller's clock), phone, channel, the step
-- in which it came, length of the failure as JSON (a zero before it where the phone was looked up by a user
-- id: it is evidence, and teaches nothing), that and the failure in words.
local function split_event(entry)
  return string.match(entry, '^(%d)|(-?%d*)|(%d+)|(%d*)|([^|]*)|(%d+)|(%d+)|(.*)$')
end

-- Removes the first `most` statuses of an id that match nothing; of all, the id goes too. Answers how
-- many went.
local function forget_early(provider_id, most)
  local key = P .. 'e:' .. provider_id
  local entries, of = call('LRANGE', key, 0, most - 1), {}
  for _, entry in ipairs(entries) do
    local status, _, _, to, channel = split_event(entry)
    if status then
      if to ~= '' then call('SREM', P .. 'er:' .. to, provider_id) end
      of[channel] = (of[channel] or 0) + 1
    end
  end
  for channel, gone in pairs(of) do count(channel, 'expired_events', gone) end
  if #entries == most and call('LLEN', key) > most then
    call('LTRIM', key, #entries, -1)
  else
    call('DEL', key)
    call('ZREM', P .. 'ez', provider_id)
    call('ZREM', P .. 'ask', provider_id)
  end
  return #entries
end

-- When an event of a message happened: when it came, where it does not say, or says what nobody believes,
-- such as a time longer before the acceptance than `early`.
local function believed(id, at, accepted, early, came)
  if at == '' then return came end
  -- An acceptance that lies ahead was dated by a clock that had leapt.
  accepted = math.min(number(id, accepted, 0), tonumber(came))
  local time, earliest, latest = tonumber(at), accepted - early, tonumber(came) + BELIEVED
  if time and time >= earliest and time <= latest then return at end
  folded.misdated = folded.misdated + 1
  return came
end

-- Folds the statuses that came before the receipt, in the order they came.
local function match_early(id, provider_id, now)
  local key = P .. 'e:' .. provider_id
  local early = call('LRANGE', key, 0, -1)
  if #early == 0 then return end
  call('DEL', key)
  call('ZREM', P .. 'ez', provider_id)
  call('ZREM', P .. 'ask', provider_id)
  -- An id that was found by whom a status names teaches nothing of that.
  local m = fields(id, 'to', 'in')
  for _, entry in ipairs(early) do
    local status, at, received, to, _, _, cut, rest = split_event(entry)
    if status then
      if to ~= '' then call('SREM', P .. 'er:' .. to, provider_id) end
      if m[1] and not m[2] and not string.find(cut, '^0%d') then learn(id, m[1], to, '') end
      -- By how much our clocks disagreed when it came is not kept, so the acceptance is no bound here.
      at = believed(id, at, false, math.huge, received)
      cut = tonumber(cut)
      fold(id, tonumber(status), at, string.sub(rest, 1, cut), string.sub(rest, cut + 1), now)
    end
  end
end

-- The provider took it. Further fields are written with it.
local function receive(id, channel, who, from, step, provider_id, now, ...)
  move(id, channel, who, from, step, 'lo', leave_doubt(id), 'ts', now, 'pi', provider_id, 'pf', TAKEN, ...)
  -- To be sent once more, and now it need not be.
  if from == STATE.queued then dequeue(id, channel) end
  call('SET', P .. 'p:' .. provider_id, id)
  call('ZREM', P .. 'u', id)
  call('ZADD', P .. 'done', now, id)
end

-- An attempt ends without a receipt of its own. One of an earlier attempt that came meanwhile counts
-- as if it were. Answers whether there is one.
local function counts_earlier(id, channel, said, now)
  local known = call('SMEMBERS', P .. 'ps:' .. id)[1]
  if not known then return false end
  receive(id, channel, 'holder', STATE.attempting, 'receipt', known, now)
  note(id, now, 'receipt', known .. ' (of an earlier attempt) counts: ' .. said)
  return true
end

-- Of somebody whom more than MOST_INFERRED unmatched ids name, nothing is inferred (design.md G3). What is
-- unknown then ends as 7004, which is the safe side; a receipt, or evidence once the ids have gone, still
-- moves it. Nor are more messages in doubt looked at at once.

-- The message of a person that is in doubt, where it is the only one.
local function only_doubt(numbers)
  local found
  for _, to in ipairs(numbers) do
    local ids = call('SMEMBERS', P .. 'x:' .. to)
    for at = 1, math.min(#ids, MOST_INFERRED) do
      if call('EXISTS', key_m(ids[at])) == 0 then
        -- Of a message that is gone: nobody else would ever take it out.
        call('SREM', P .. 'x:' .. to, ids[at])
      elseif found then
        return nil
      else
        found = ids[at]
      end
    end
    -- Beside it there may be some that were not looked at.
    if #ids > MOST_INFERRED then return nil end
  end
  return found
end

-- The unmatched provider id of a person that was first seen after a step, where it is the only one.
local function only_unmatched(numbers, begun)
  local found
  for _, to in ipairs(numbers) do
    local unmatched = call('SMEMBERS', P .. 'er:' .. to)
    if #unmatched > MOST_INFERRED then return nil end
    for _, provider_id in ipairs(unmatched) do
      local first = call('LINDEX', P .. 'e:' .. provider_id, 0)
      local came = first and select(6, split_event(first))
      -- An id that was seen before the attempt belongs to another message. The statuses of one send
      -- may name the person by both numbers.
      if came and tonumber(came) > begun and provider_id ~= found then
        if found then return nil end
        found = provider_id
      end
    end
  end
  return found
end

-- Evidence for a send whose outcome nobody knows (design.md G3): exactly one message to the person in
-- doubt, not being sent right now, exactly one unmatched provider id that names the person.
local function infer_receipt(to, now)
  local numbers = to and all_numbers(to)
  local id = to and only_doubt(numbers)
  if not id then return end
  local m = fields(id, 's', 'ta', 'ch', 'lo')
  local may = state_after('status', m[1], 'evidence')
  if not may or not (m[1] == STATE.unknown or m[4] == '1') then return end
  local begun = number(id, m[2])
  if not (begun and m[3]) then return damaged(key_m(id)) end
  local found = only_unmatched(numbers, begun)
  if not found then return end
  receive(id, m[3], 'status', m[1], 'evidence', found, now, 'in', 1)
  note(id, now, 'receipt', found .. ' (inferred from a status)')
  folded.inferred = folded.inferred + 1
  match_early(id, found, now)
end

-- How long after a roll call somebody may still say how what they put back has ended (ms).
local LATELY = 5000
-- Which server this is, new at each of its starts; nothing where it does not permit to ask.
local function run_id()
  local told = redis.pcall('INFO', 'server')
  return type(told) == 'string' and string.match(told, 'run_id:(%x+)') or ''
end

-- Whether this server hands out work: it went on where it was, or all who sent put back what it forgot.
local function is_open()
  local gate = call('GET', P .. 'gate')
  return not gate or gate == run_id()
end

-- Whether somebody may still put back what this server forgot: the ends of what they sent follow their answers.
local function is_being_put_back()
  local here = run_id()
  if call('GET', P .. 'gate') == here then return call('EXISTS', P .. 'lately') == 1 end
  local roll = call('HMGET', P .. 'roll', 'run', 'held')
  local held = integer(roll[2])
  return not (roll[1] == here and held) or redis_ms() - held < LATELY
end

-- Whether it came as far as a process saw it come: with its own claims, and with anybody's.
local function is_as_seen(replica, own, last)
  local did = call('HMGET', P .. 'did', replica, '*')
  return (did[1] or '') >= own and (did[2] or '') >= last
end

-- Whether the process may take work: its lease stands, and nobody has taken over from it.
local function may_take(replica)
  local lease = call('ZSCORE', P .. 'replicas', replica)
  return lease and tonumber(lease) > redis_ms()
end

-- After a silence of Redis itself all leases look over, because nobody could renew: first everybody
-- gets the time to do so. Asked with every renewal too, since sweeps may be slow; longer than the time
-- between two renewals, shorter than what is left of a lease by then.
local SILENCE = 4000
local function is_calm()
  local time = redis_ms()
  local beat = tonumber(call('GET', P .. 'beat')) or time
  call('SET', P .. 'beat', whole(time))
  if time - beat > SILENCE then call('SET', P .. 'calm', 1, 'PX', SILENCE) end
  return call('EXISTS', P .. 'calm') == 1
end

local function release_callback(replica, cid, claim, now)
  local lane, channel = string.match(claim, '^%d+|(%d)|(.*)$')
  call('HDEL', P .. 'ct:' .. replica, cid)
  if lane then
    -- One that is gone too: whoever takes it gives it up.
    call('ZADD', P .. 'cr:' .. lane .. ':' .. channel, now, cid)
    wake(channel)
  end
end

-- A message for people: its number, small fields, row and history, callbacks that wait or were given
-- up.
local function describe(id)
  local small, channel, callbacks = redis.pcall('HGETALL', key_m(id)), '', {}
  if small.err then
    small = {}
  elseif #small == 0 then
    return nil
  end
  for at = 1, #small, 2 do
    if small[at] == 'ch' then channel = small[at + 1] end
  end
  local dead = call('SMEMBERS', P .. 'dm:' .. id)
  table.sort(dead)
  for _, cid in ipairs(dead) do
    callbacks[#callbacks + 1] = { 'dead', text_at(P .. 'c:' .. cid),
      call('HGET', P .. 'dr', cid) or '' }
  end
  for place, cid in ipairs(call('LRANGE', P .. 'co:0:' .. channel .. ':' .. id, 0, -1)) do
    callbacks[#callbacks + 1] =
      { place == 1 and 'ready' or 'waits', text_at(P .. 'c:' .. cid), '' }
  end
  return { id, small, text_at(P .. 'd:' .. id), callbacks }
end

-- Pairs of a hash, as redis gives them.
local function pairs_of(hash)
  local flat, at = call('HGETALL', hash), -1
  return function()
    at = at + 2
    return flat[at], flat[at + 1]
  end
end

local function answer()
  local woken = {}
  for channel in pairs(folded.wake) do woken[#woken + 1] = channel end
  return { folded.emitted, folded.superseded, folded.unmatched, folded.inferred, woken, damage, folded.misdated,
    folded.oo, folded.om, folded.conflicts }
end
