-- Statuses that wait for a receipt may prove what became of messages that were given up (fail_copy.lua).
-- now, how many ids to pass over, most. Answers how many stay of those looked at, how many these were, and what was
-- folded.
local now, from, most = unpack(ARGV)
local ids, stay, looked_at = call('ZRANGE', P .. 'ez', from, from + most - 1), 0, {}
for _, provider_id in ipairs(ids) do
  local entries = call('LRANGE', P .. 'e:' .. provider_id, 0, -1)
  -- One that is gone proves nothing.
  if #entries == 0 then call('ZREM', P .. 'ez', provider_id) end
  for _, entry in ipairs(entries) do
    local _, _, _, to = split_event(entry)
    if to and to ~= '' and not looked_at[to] then
      looked_at[to] = true
      infer_receipt(to, now)
    end
  end
end
for _, provider_id in ipairs(ids) do
  if call('ZSCORE', P .. 'ez', provider_id) then stay = stay + 1 end
end
return { stay, #ids, answer() }
