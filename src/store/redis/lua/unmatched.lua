-- Provider ids whose statuses match no message and that were not looked for elsewhere: up to half of them
-- name people who have a message in doubt, one id each, the rest are those that came first.
-- before, most. Answers id, when it came, channel.
local before, most = tonumber(ARGV[1]), tonumber(ARGV[2])
-- Messages in doubt that are looked at, those whose hold ends first, and ids of one person, by lot: who is
-- named by more has nothing to prove (`MOST_INFERRED`).
local MOST_IN_DOUBT, MOST_DRAWN = 100, 8
local found, known = {}, {}

local function add(provider_id, came)
  local first = call('LINDEX', P .. 'e:' .. provider_id, 0)
  local channel = first and select(5, split_event(first))
  if channel then
    known[provider_id] = true
    found[#found + 1] = { provider_id, came, channel }
  else
    -- Gone, or nobody can say whose: it would stand in the way of all others.
    call('ZREM', P .. 'ask', provider_id)
  end
end

local function add_one_of(phone)
  for _, provider_id in ipairs(call('SRANDMEMBER', P .. 'er:' .. phone, MOST_DRAWN)) do
    local came = call('ZSCORE', P .. 'ask', provider_id)
    if came and tonumber(came) < before and not known[provider_id] then return add(provider_id, came) end
  end
end

local asks = call('ZRANGEBYSCORE', P .. 'ask', '-inf', '(' .. ARGV[1], 'WITHSCORES', 'LIMIT', 0, most)
-- Where fewer wait, all of them are asked for, and whose turn it is makes no difference.
local is_full = #asks >= 2 * most
for _, id in ipairs(is_full and call('ZRANGE', P .. 'u', 0, MOST_IN_DOUBT - 1) or {}) do
  local to = fields(id, 'to')[1]
  for _, phone in ipairs(to and numbers_of(to) or {}) do
    if #found < math.floor(most / 2) then add_one_of(phone) end
  end
end
for at = 1, #asks, 2 do
  if #found < most and not known[asks[at]] then add(asks[at], asks[at + 1]) end
end
return found
