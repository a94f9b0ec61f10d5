#!/usr/bin/env python3
"""How long the scripts of a gateway hold up Redis when much is kept and queued.

    tests/load/redis_scripts.py target/release/gateway [rows] [seconds]

Fills a redis-server of its own with that many queued messages and as many settled ones (a million
each unless told otherwise; ids scattered, half of the settled ones past `store.retention`, a part of
those with a dead letter that makes them stay), lets one gateway work on it beside the sandbox, and
prints the slowest runs of each script as SLOWLOG has them. Only Python's own library."""

import os, re, signal, subprocess, sys, tempfile, time
from processes import start, start_redis

BINARY = os.path.abspath(sys.argv[1])
ROWS = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
SECONDS = int(sys.argv[3]) if len(sys.argv) > 3 else 90
STEP = 2_000

# Numbers from FROM on of QUEUED or settled messages; 7919 is coprime to ROWS' decimal powers, so the
# order in which they stand is not the order of their numbers.
FILL = """
local P, from, to, rows, kind, now = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local base = kind == 'queued' and 1600000000000000 or 1500000000000000
for n = from, to do
  local place = (n * 7919) % rows
  local id, phone, mi = string.format('%.0f', base + place), string.format('1202%07d', place), kind .. n
  local m = P .. 'm:' .. id
  redis.call('SET', P .. 'i:default:' .. mi, id)
  redis.call('ZADD', P .. 'r:' .. phone, now, id)
  redis.call('SET', P .. 'd:' .. id, '{"v":1,"from":"+12025550100","name":"order_update","lang":"en_US","body":["Ana","A-1042"]}\\n')
  if kind == 'queued' then
    local due = string.format('%.0f', now - n % 3000000)
    redis.call('HSET', m, 'ch', 'default', 'mi', mi, 'to', phone, 's', 0, 'du', due, 'ac', due)
    redis.call('ZADD', P .. 'q:default', due, id)
  else
    local old = n % 2 == 0 and 40 or 5
    local ts = string.format('%.0f', now - old * 86400000 - n)
    redis.call('HSET', m, 'ch', 'default', 'mi', mi, 'to', phone, 's', 2, 'ac', ts, 'ts', ts, 'pi', 'P' .. id, 'pr', 3, 'n', 1)
    redis.call('SET', P .. 'p:P' .. id, id)
    redis.call('ZADD', P .. 'done', ts, id)
    if n % 4 == 0 then redis.call('SADD', P .. 'dm:' .. id, 1) end
  end
end
if to >= rows - 1 then
  local counter = kind == 'queued' and 'queued' or 'accepted_by_provider'
  redis.call('HINCRBY', P .. 'l:default', 'accepted', rows)
  redis.call('HINCRBY', P .. 'l:default', counter, rows)
end
return 0
"""


def main(directory, children):
    child, socket, redis = start_redis(directory, "no")
    children.append(child)
    began = time.monotonic()
    sha = redis("SCRIPT", "LOAD", FILL).strip()
    now = int(time.time() * 1000)
    for kind in ("queued", "settled"):
        lines = (f"EVALSHA {sha} 1 gw:{{default}}: {at} {min(at + STEP, ROWS) - 1} {ROWS} {kind} {now}\n"
                 for at in range(0, ROWS, STEP))
        subprocess.run(["redis-cli", "-s", socket], input="".join(lines), text=True, check=True,
                       stdout=subprocess.DEVNULL)
    print(f"{ROWS} queued and {ROWS} settled in {time.monotonic() - began:.0f} s; {SECONDS} s of work",
          flush=True)
    redis("CONFIG", "SET", "slowlog-log-slower-than", 2000)
    redis("CONFIG", "SET", "slowlog-max-len", 100_000)
    redis("SLOWLOG", "RESET")
    words = ["--knob", "rate_per_second=0", "--knob", "event_mode=none", "--knob", "latency_ms=5"]
    child, said = start([BINARY, "sandbox", "--port", "0", *words], {}, directory, "Jumper at")
    children.append(child)
    jumper = said.split()[-1]
    env = {
        "MOENGAGE_CALLBACK_URL": jumper + "/moengage/dlr", "MOENGAGE_AUTH_AGAINST": "tok-for-the-load-run",
        "JUMPER_BASIC_AUTH": "Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=",
        "SEED_REFRESH_TOKEN": "sandbox-refresh-token", "JUMPER_API_URL": jumper,
        "RATE_PER_SECOND": "200", "RUST_LOG": "info", "REDIS_URL": "redis+unix://" + socket,
    }
    args = ["serve", "--set", "http.port=0", "--set", "http.bind=127.0.0.1", "--set", "ops.addr=127.0.0.1:0",
            # Retention looks four times in this time.
            "--set", "store.event_retention=60s"]
    children.append(start([BINARY, *args], env, directory, "the gateway is ready")[0])
    time.sleep(SECONDS)
    # A line each: number, when, microseconds, then the words of the command.
    slow = re.findall(r"^\d+\) 1\).*?(?=^\d+\) 1\)|\Z)", redis("--no-raw", "SLOWLOG", "GET", -1), re.M | re.S)
    scripts = {}
    for entry in slow:
        took = int(re.search(r"^ +3\) \(integer\) (\d+)", entry, re.M)[1])
        said = re.findall(r'^ +(?:4\) +)?\d+\) "(.*)"$', entry, re.M)
        if said[:1] and said[0].upper() in ("EVALSHA", "EVAL") and len(said) > 4:
            named = said[0] + " " + said[1][:8] + " " + " ".join(word[:14] for word in said[4:8])
            key = said[1][:8]
        else:
            named = key = " ".join(said[:2])[:60]
        scripts.setdefault(key, []).append((took, named))
    print("  most ms  runs > 2 ms  script, and its first arguments then")
    for runs in sorted(scripts.values(), key=max, reverse=True):
        took, named = max(runs)
        print(f"{took / 1000:9.1f} {len(runs):12}  {named}")
    print(redis("HMGET", "gw:{default}:l:default", "queued", "accepted_by_provider", "failed"), redis("ZCARD", "gw:{default}:done"))


with tempfile.TemporaryDirectory() as home:
    started = []
    try:
        main(home, started)
    finally:
        for one in reversed(started):
            one.send_signal(signal.SIGKILL)
            one.wait()
