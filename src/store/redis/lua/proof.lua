-- Whether Redis takes writes, and permits all that the gateway asks of it: names of commands, with the second
-- word behind a bar. Answers those that it refuses. None is tried: Redis says whether it would permit them.
local refused = {}
for _, name in ipairs(ARGV) do
  local command, second = string.match(name, '^(%a+)|?(%a*)$')
  -- An error: Redis does not know such a command.
  local known, may = pcall(redis.acl_check_cmd, command, second ~= '' and second or KEYS[1])
  if not (known and may) then refused[#refused + 1] = name end
end
if #refused > 0 then return refused end
redis.call('SET', KEYS[1], 1, 'EX', 60)
redis.call('DEL', KEYS[1])
return refused
