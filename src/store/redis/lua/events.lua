-- Writes D and E in one: an event is stored, matched, folded and queued for MoEngage together.
-- Of each webhook: channel, now, the oldest message that a reply without context may answer, whether replies that
-- answer nothing are told, the channel's own number, how long before the acceptance (ms) an event may
-- have happened, whether the caller showed the secret, then eleven fields an event:
--   s provider id, status, at, phone, failure as JSON, failure in words, user id
--   r what it is known by, for how long (ms) or nothing, phone or nothing, who it is for the history,
--     context, text, text as JSON, at, what it opts out of (oo, om), start or nothing, user id
--   o kind, what came, how often
local channel, now, since, relay_unmatched, own, early, vouched
local crowded_out, replies

local function keep_other(kind, raw)
  crowded_out = crowded_out + keep_for_people(channel, kind, raw, now)
end

-- What matches nothing is kept within bounds: anybody who may post can make it up. Two go for one that
-- came, so what an older program left shrinks too.
local function make_room(came)
  local over = came > 0 and math.min(call('ZCARD', P .. 'ez') - MOST_EARLY, 2 * came) or 0
  for _, provider_id in ipairs(over > 0 and call('ZRANGE', P .. 'ez', 0, over - 1) or {}) do
    crowded_out = crowded_out + forget_early(provider_id, 99)
  end
end

-- Whether a status says nothing new beside those of its message that waited before it: one is the same,
-- naming the same person and opting them out if this one does; or they are as many as are kept.
local function is_known(key, before, status, to, failure)
  if before == 0 then return false end
  for _, entry in ipairs(call('LRANGE', key, 0, math.min(before, MOST_OF_ONE) - 1)) do
    local kept, _, _, named, _, _, _, said = split_event(entry)
    local is_same = kept == status and (to == '' or to == named)
    if is_same and (not opts_out(failure) or opts_out(said)) then return true end
  end
  return before >= MOST_OF_ONE
end

-- Answers how many are kept for a receipt to come.
local function take_status(provider_id, status, at, to, failure, text, user)
  local id = call('GET', P .. 'p:' .. provider_id)
  if id and call('EXISTS', key_m(id)) == 1 then
    local m = fields(id, 'ac', 'to', 'in')
    -- An id that was found by whom a status names teaches nothing of that.
    if m[2] and not m[3] then learn(id, m[2], to, user) end
    at = believed(id, at, m[1], early, now)
    fold(id, tonumber(status), at, failure, text, now)
    return 0
  end
  local length = #failure
  if to == '' and user ~= '' then
    to = dialled(user) or ''
    if to ~= '' then length = '0' .. length end
  end
  local key = P .. 'e:' .. provider_id
  -- Written first: mostly it is the only one, and nothing need be read.
  local before = call('RPUSH', key, table.concat(
    { status, at, now, to, channel, order_now(), length, failure .. text }, '|')) - 1
  if is_known(key, before, status, to, failure) then
    call('LTRIM', key, 0, before - 1)
    folded.superseded = folded.superseded + 1
    if to ~= '' then weigh(to, now) end
    return 0
  end
  folded.unmatched = folded.unmatched + 1
  call('ZADD', P .. 'ez', 'NX', now, provider_id)
  if MARK_DIRTY then call('ZADD', P .. 'ask', 'NX', now, provider_id) end
  if to ~= '' then
    call('SADD', P .. 'er:' .. to, provider_id)
    weigh(to, now)
  end
  return 1
end

-- The message of a person in doubt that has a button of this label: its id is not known yet, as a tap
-- may overtake the answer to the send. It must be the only one, and its outcome still open: what was told
-- long ago may be what was tapped, as may be what others sent, and nobody can tell.
local function tapped_in_doubt(numbers, text)
  local found, open
  for _, phone in ipairs(numbers) do
    local ids = call('SMEMBERS', P .. 'x:' .. phone)
    -- Beside these there may be some that were not looked at.
    if #ids > MOST_WEIGHED then return nil end
    for _, id in ipairs(ids) do
      local m = fields(id, 'ac', 'ch', 'mi', 's')
      local accepted = m[2] and m[3] and number(id, m[1], 0)
      if accepted and accepted >= tonumber(since) and tapped(id, text) ~= 'null' then
        if found then return nil end
        found, open = id, m[4] ~= STATE.accepted and m[4] ~= STATE.failed
      end
    end
  end
  return open and found or nil
end

-- The latest message to a number: the provider took it or may have; else it is being asked to, and a
-- reply may overtake its answer. With when it was accepted, and which of the two it is.
local function latest_to(phone)
  local asked, asked_at
  for _, id in ipairs(call('ZREVRANGE', P .. 'r:' .. phone, 0, 99)) do
    local m = fields(id, 's', 'lo', 'ac', 'ch', 'mi')
    local reached = m[1] == STATE.accepted or m[1] == STATE.unknown or m[2] == '1'
    local accepted = m[4] and m[5] and number(id, m[3], 0)
    local young = accepted and accepted >= tonumber(since)
    if reached and young then return id, accepted, 1 end
    if m[1] == STATE.attempting and young and not asked then asked, asked_at = id, accepted end
  end
  return asked, asked_at, 0
end

-- The message that a reply of who has these numbers belongs to, whether the person answered that very message,
-- and whether the reply names its id, which came with its receipt.
local function answered(numbers, context, text)
  if context ~= '' then
    local id = call('GET', P .. 'p:' .. context)
    local m = id and fields(id, 'ch', 'mi', 'in')
    if m and m[1] and m[2] then return id, true, not m[3] end
    local in_doubt = tapped_in_doubt(numbers, text)
    if in_doubt then return in_doubt, true end
  end
  local latest, latest_at, latest_reached
  for _, phone in ipairs(numbers) do
    local id, accepted, reached = latest_to(phone)
    local better = id and (not latest or reached > latest_reached
      or reached == latest_reached and accepted > latest_at)
    if better then latest, latest_at, latest_reached = id, accepted, reached end
  end
  return latest, false
end

-- Whether a reply of this name came before: ever, or within its life.
local function seen_before(name, life)
  local seen = tonumber(call('ZSCORE', P .. 'rs', name) or nil)
  return seen and (life == '' or math.abs(now - seen) <= tonumber(life))
end

-- What a word asks for. START does not undo a stop of promotions, which the person made at WhatsApp itself. It is
-- kept also where nobody is opted out here: they may be where this is put together with another store.
local function obey(keyword, channel, names)
  if keyword ~= 'start' then return opt_out(keyword, channel, names, now, 'reply', true) end
  call('SREM', P .. 'oo:' .. channel, unpack(names))
  call('SADD', P .. 'channels', channel)
  local done = {}
  for _, name in ipairs(names) do
    if not done[name] then say(channel, 'oo:' .. name, '0', now, 'reply') end
    done[name] = true
  end
end

-- All numbers of who writes, the number that was dialled of whom a name is known of, and of whose the user id is
-- where that is somebody else's than the number beside it, which decides.
local function writer(from, user)
  local by_user = user ~= '' and dialled(user) or ''
  if from == '' then return by_user ~= '' and all_numbers(by_user) or {}, by_user, '' end
  local known = dialled(key_of(from)) or ''
  local root = key_of(known ~= '' and known or from)
  if by_user ~= '' and key_of(by_user) ~= root then return all_numbers(from), known, by_user end
  return all_numbers(from), known ~= '' and known or by_user, ''
end

-- Under what a word counts. A STOP may count for two people where they may be one; a START lifts what the number
-- in it says, or the message.
local function names_of(keyword, from, person, known, other, user)
  local names = {}
  -- It may be known before the number is whose both are.
  if user ~= '' and vouched == '1' and not dialled(user) then names[1] = user end
  for at, one in ipairs({ from, person, known, other }) do
    if one ~= '' and (at <= 2 or keyword ~= 'start') then
      for _, spelled in ipairs(all_numbers(one)) do names[#names + 1] = spelled end
    end
  end
  return names
end

local function take_reply(name, life, from, shown, context, text, text_json, at, keyword, user)
  local repeated, stops = seen_before(name, life), folded[keyword]
  -- By its content alone it may be another STOP, written after a START (seen.rs).
  if repeated and not (life ~= '' and stops) then
    replies.repeated = replies.repeated + 1
    return
  end
  local numbers, known, other = writer(from, user)
  local id, quoted, certain = answered(numbers, context, text)
  local home, msg_id, person, waba, payload, accepted = channel, nil, known ~= '' and known or from, own, 'null', false
  local learns = false
  if id then
    local m = fields(id, 'ch', 'mi', 'to', 'ac')
    home, msg_id, waba, accepted = m[1], m[2], from_of(id), m[4]
    -- WhatsApp may spell the number of the same person in another way, and MoEngage knows only this one.
    person = number(id, m[3]) and m[3] or person
    -- Whoever shows no secret can make up both ends.
    learns = certain and vouched == '1' and number(id, m[3])
    if learns then learn(id, m[3], from, user) end
    if quoted then payload = tapped(id, text) end
  elseif waba == '' then
    waba = call('HGET', P .. 'num', channel) or ''
  end
  if other ~= '' and not learns and vouched == '1' then folded.conflicts = folded.conflicts + 1 end
  local names = keyword ~= '' and names_of(keyword, from, person, known, other, user) or {}
  if #names > 0 then
    obey(keyword, home, names)
    if not repeated and stops then
      folded[keyword] = stops + 1
    elseif not repeated then
      replies.start = replies.start + 1
    end
  end
  if repeated then
    replies.repeated = replies.repeated + 1
    return
  end
  -- Until all is put back that this server may have forgotten, what it names may be known (take_callbacks.lua).
  local quote = context ~= '' and not quoted and is_being_put_back() and context
  local unasked = not id and keyword == '' and relay_unmatched ~= '1'
  -- Of one who is named by an unknown user id only, a message of ours would say whose it is.
  if person == '' or unasked and not quote then
    replies.unmatched = replies.unmatched + 1
    keep_other('unmatched_reply', text)
    return call('ZADD', P .. 'rs', now, name)
  end
  if id then note(id, now, 'reply', shown, HISTORY_LIMIT) end
  local row = reply_row(believed(id, at, accepted, early, now), msg_id, person, waba, text_json, payload,
    quote and quoting(quote, unasked) or '')
  enqueue(home, 1, key_of(person), id or '', row, now)
  replies.told = replies.told + 1
  -- Last: what failed in its middle is to be done again.
  call('ZADD', P .. 'rs', now, name)
end

local came = {}
local function take_all(first, last)
  channel, now, since, relay_unmatched, own, early, vouched = unpack(ARGV, first, first + 6)
  folded, damage = nothing_folded(), {}
  crowded_out, replies = 0, { told = 0, repeated = 0, unmatched = 0, start = 0 }
  local events, kept = 0, 0
  for at = first + 7, last, 11 do
    local kind = ARGV[at]
    if kind == 's' then
      kept = kept + take_status(unpack(ARGV, at + 1, at + 7))
      events = events + 1
    elseif kind == 'r' then
      take_reply(unpack(ARGV, at + 1, at + 10))
      events = events + 1
    else
      keep_other(ARGV[at + 1], ARGV[at + 2])
      events = events + tonumber(ARGV[at + 3])
    end
  end
  make_room(kept)
  came[channel] = (came[channel] or 0) + events
  return { answer(), { replies.told, replies.repeated, replies.unmatched, replies.start, crowded_out } }
end
local answers = each(take_all)
for of, events in pairs(came) do count(of, 'events', events) end
return answers
