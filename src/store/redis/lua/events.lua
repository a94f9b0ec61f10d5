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
    if to ~= '' then infer_receipt(to, now) end
    return 0
  end
  folded.unmatched = folded.unmatched + 1
  call('ZADD', P .. 'ez', 'NX', now, provider_id)
  if MARK_DIRTY then call('ZADD', P .. 'ask', 'NX', now, provider_id) end
  if to ~= '' then
    call('SADD', P .. 'er:' .. to, provider_id)
    infer_receipt(to, now)
  end
  return 1
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

-- What may be the label of a button; in bytes.
local LONGEST_LABEL = 256

-- Asked once: what is put back in the same moment is looked for again anyway.
local may_be_forgotten
local function is_in_doubt()
  if may_be_forgotten == nil then may_be_forgotten = is_being_put_back() end
  return may_be_forgotten
end

-- What a reply whose message may be put back needs then.
local function waiting(context, keyword, text, unasked)
  return ',"named":' .. cjson.encode(context) .. ',"since":' .. since .. ',"asked":' .. whole(redis_ms())
    .. (keyword ~= '' and ',"word":"' .. keyword .. '"' or '')
    .. (#text <= LONGEST_LABEL and ',"said":' .. cjson.encode(text) or '') .. (unasked and ',"unasked":true' or '')
end

local function take_reply(name, life, from, shown, context, text, text_json, at, keyword, user)
  local repeated, stops = seen_before(name, life), folded[keyword]
  -- By its content alone it may be another STOP, written after a START (seen.rs).
  if repeated and not (life ~= '' and stops) then
    replies.repeated = replies.repeated + 1
    return
  end
  local numbers, known, other = writer(from, user)
  local id, quoted, certain = answered(numbers, context, text, since)
  local home, msg_id, person, waba, payload, accepted = channel, nil, known ~= '' and known or from, own, 'null', false
  local learns = false
  if id then
    local m = fields(id, 'to', 'ac')
    accepted = m[2]
    -- Whoever shows no secret can make up both ends.
    learns = certain and vouched == '1' and number(id, m[1])
    if learns then learn(id, m[1], from, user) end
    home, msg_id, person, waba, payload = told_with(id, quoted, person, text)
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
  local unasked = keyword == '' and relay_unmatched ~= '1'
  -- Somebody may put back the message that was meant: who takes this looks for it again (take_callbacks.lua).
  local waits = person ~= '' and not quoted and is_in_doubt() and waiting(context, keyword, text, unasked)
  -- Of one who is named by an unknown user id only, a message of ours would say whose it is.
  if person == '' or not id and unasked and not waits then
    replies.unmatched = replies.unmatched + 1
    keep_other('unmatched_reply', text)
    return call('ZADD', P .. 'rs', now, name)
  end
  at = believed(id, at, accepted, early, now)
  if waits then
    home, id, msg_id, waba, payload = channel, nil, nil, own, 'null'
  elseif id then
    note(id, now, 'reply', shown, HISTORY_LIMIT)
  end
  local row = reply_row(at, msg_id, person, waba, text_json, payload, waits)
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
