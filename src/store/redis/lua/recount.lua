-- What is open is counted where it stands, and a ledger that says otherwise is put right: a worker sleeps while it
-- says that nothing is queued. What has ended is never set from a count, nor from the sum. What is missing then is
-- lost, but for what damaged counters are off by (`uncount`).
-- Whether attempts and unknown outcomes are counted though nothing waits for it, the most of these, then channels.
-- Answers whether a ledger is still to be looked at, and damaged keys.
local counts_all, most = ARGV[1] == '1', tonumber(ARGV[2])
-- What this server says may be behind what was sent.
if not is_open() then return { 0, damage } end
local replicas, off = call('ZRANGE', P .. 'replicas', 0, -1), 0
local attempting, unknown, attempts, unknowns = {}, {}, 0, call('ZCARD', P .. 'u')
for _, replica in ipairs(replicas) do attempts = attempts + call('HLEN', P .. 'att:' .. replica) end

-- What nobody counts on stays damaged, and tells nothing.
local function count_anew(ledger)
  local text = redis.pcall('HGET', ledger, 'accepted')
  if type(text) == 'table' and text.err then uncount(ledger, add_to(ledger, 'accepted', 0) or 'all') end
  for name in pairs(SUMMED) do
    local counted = call('HGET', ledger, name)
    local anew = counted and not integer(counted) and add_to(ledger, name, 0)
    if anew then uncount(ledger, anew) end
  end
end

local function add_one(counts, id)
  local channel = fields(id, 'ch')[1]
  if channel then counts[channel] = (counts[channel] or 0) + 1 end
end

local function put(ledger, name, n)
  if (integer(call('HGET', ledger, name)) or 0) ~= n then
    damaged(ledger)
    call('HSET', ledger, name, whole(n))
  end
end

-- What is off since a counter was damaged, after what is open was counted; it had missed so many before.
local function uncounted_after(ledger, kept, left, before)
  local n, open = integer(kept[1]) or 0, kept[2]
  if not open then return n end
  n = counts_all and integer(open) and n - integer(open) or n + left - before
  call('HSET', ledger, 'uncounted', whole(n), 'uncounted_open', 'all')
  if counts_all then call('HDEL', ledger, 'uncounted_open') end
  if counts_all and n == 0 then call('HDEL', ledger, 'uncounted', 'uncounted_of', 'uncounted_at') end
  return n
end

local function look_at(channel, ledger)
  local before = missing(ledger)
  put(ledger, 'queued', call('ZCARD', P .. 'q:' .. channel) + call('ZCARD', P .. 'rq:' .. channel)
    + call('ZCARD', P .. 'aq:' .. channel))
  if counts_all then
    put(ledger, 'attempting', attempting[channel] or 0)
    put(ledger, 'unknown', unknown[channel] or 0)
  end
  local left, kept = missing(ledger), call('HMGET', ledger, 'uncounted', 'uncounted_open', 'lost')
  local lost = left - uncounted_after(ledger, kept, left, before)
  if lost ~= (integer(kept[3]) or 0) then call('HSET', ledger, 'lost', whole(lost)) end
  if lost ~= 0 then off = 1 end
end

if attempts + unknowns > most then most = 0 end
for at = 3, #ARGV do
  local ledger = P .. 'l:' .. ARGV[at]
  count_anew(ledger)
  local said = call('HMGET', ledger, 'attempting', 'unknown', 'uncounted_open')
  attempts, unknowns = attempts - (integer(said[1]) or 0), unknowns - (integer(said[2]) or 0)
  if said[3] then counts_all = true end
end
counts_all = counts_all and most > 0
if not counts_all and (attempts ~= 0 or unknowns ~= 0) then off = 1 end
for _, replica in ipairs(counts_all and replicas or {}) do
  for id in pairs_of(P .. 'att:' .. replica) do add_one(attempting, id) end
end
for _, id in ipairs(counts_all and call('ZRANGE', P .. 'u', 0, -1) or {}) do add_one(unknown, id) end
for at = 3, #ARGV do look_at(ARGV[at], P .. 'l:' .. ARGV[at]) end
return { off, damage }
