-- Statuses that wait for a receipt may prove what became of messages that were given up (fail_copy.lua).
-- now, how many ids to pass over, most. Answers how many stay of those looked at, how many these were, and what was
-- folded.
local now, from, most = unpack(ARGV)
local ids, stay = call('ZRANGE', P .. 'ez', from, from + most - 1), 0
for _, provider_id in ipairs(ids) do
  local key = P .. 'e:' .. provider_id
  for _, entry in ipairs(call('LRANGE', key, 0, -1)) do
    local _, _, _, to = split_event(entry)
    if to and to ~= '' then weigh(to, now) end
  end
  stay = stay + call('EXISTS', key)
end
return { stay, #ids, answer() }
