-- Takes what Datastore said about a provider id whose statuses match no message.
-- now, provider id, then nothing (it knows no such message), or: channel, msg_id, phone (nothing: whom
-- the statuses name, else the number of the brand follows), row, conversation, progress, accept,
-- version, number of the brand, 1 where evidence had found the id.
-- Answers 1 when a message of this msg_id is here that is left as it is, and what was folded.
local now, provider_id = ARGV[1], ARGV[2]
local refused = 0

local function named()
  for _, entry in ipairs(call('LRANGE', P .. 'e:' .. provider_id, 0, -1)) do
    local _, _, _, to = split_event(entry)
    if to ~= '' then return to end
  end
end

local function insert()
  local channel, msg_id, to, row, conversation, progress, accepted, version, brand, inferred = unpack(ARGV, 3, 12)
  -- Whose it is, nobody told us: what is said of it later teaches nothing of them.
  if to == '' then to, inferred = named() or brand, '1' end
  local id = next_of('seq')
  call('SET', P .. 'i:' .. channel .. ':' .. msg_id, id)
  call('HSET', key_m(id), 'ch', channel, 'mi', msg_id, 'to', to, 's', STATE.accepted, 'du', accepted,
    'ac', accepted, 'ts', now, 'pi', provider_id, 'cv', conversation, 'pr', progress, 'vr', version)
  if inferred == '1' then call('HSET', key_m(id), 'in', 1) end
  call('SET', P .. 'd:' .. id, row .. '\n')
  note(id, now, 'adopted', provider_id)
  call('ZADD', P .. 'r:' .. to, accepted, id)
  call('SET', P .. 'p:' .. provider_id, id)
  call('ZADD', P .. 'done', now, id)
  return id
end

local id = call('GET', P .. 'p:' .. provider_id)
if id and call('EXISTS', key_m(id)) == 0 then id = false end
if not id and #ARGV > 2 then
  local here = call('GET', P .. 'i:' .. ARGV[3] .. ':' .. ARGV[4])
  if not here then
    id = insert()
  else
    local m = fields(here, 's', 'ch')
    if state_after('record', m[1], 'evidence') then
      id = here
      keep_channel(id, m[2], ARGV[3])
      receive(id, ARGV[3], 'record', m[1], 'evidence', provider_id, now)
      if ARGV[12] == '1' then call('HSET', key_m(id), 'in', 1) end
      note(id, now, 'receipt', provider_id .. ' (from Datastore)')
    else
      refused = 1
    end
  end
end
if id then match_early(id, provider_id, now) end
-- Not asked for again, also when a later event names it.
call('ZADD', P .. 'ask', 'XX', ASKED, provider_id)
return { refused, answer() }
