-- A part of the list of who is opted out of a channel: from which place on, up to which. Answers how many were looked
-- at, and of each who is out: oo or om, name, when, how.
local channel, found = ARGV[1], {}
local names = call('ZRANGE', P .. 'ol:' .. channel, ARGV[2], ARGV[3])
for _, said in ipairs(names) do
  local scope, name = string.match(said, '^(o[om]):(.+)$')
  if scope and call('SISMEMBER', P .. scope .. ':' .. channel, name) == 1 then
    local at, how = said_at(channel, said)
    found[#found + 1] = { scope, name, whole(at or 0), how or '' }
  end
end
return { #names, found }
