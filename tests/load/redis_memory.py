#!/usr/bin/env python3
"""Bytes that a message takes in Redis: queued, and tracked (settled, its statuses told).

    tests/load/redis_memory.py target/release/gateway [messages]

Starts a redis-server, the sandbox and one gateway of its own, and stops them again. Each figure is
the difference of used_memory (INFO memory) before and after, divided by the messages: 100,000 unless
told otherwise, fewer say more about Redis' tables, which grow in steps. Only Python's own library."""

import http.client, json, os, re, signal, sys, tempfile, threading, time, urllib.request
from processes import start, start_redis

BINARY = os.path.abspath(sys.argv[1])
MESSAGES = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
POSTERS = 8
TOKEN = "tok-for-the-load-run"
BODIES = {"small (2 values, 9 bytes)": ["Ana", "A-1042"], "1 KB of values": ["x" * 512, "y" * 512]}


class Run:
    def __init__(self, directory):
        child, socket, self.redis = start_redis(directory, "no")
        self.children = [child]
        knobs = ["rate_per_second=0", "event_delay_ms=1", "share_read=1", "keep=1", "latency_ms=5"]
        words = [word for knob in knobs for word in ("--knob", knob)]
        child, said = start([BINARY, "sandbox", "--port", "0", *words], {}, directory, "Jumper at")
        self.children.append(child)
        jumper = self.jumper = said.split()[-1]
        env = {
            "MOENGAGE_CALLBACK_URL": jumper + "/moengage/dlr", "MOENGAGE_AUTH_AGAINST": TOKEN,
            "WEBHOOK_OPEN": "true",
            "JUMPER_BASIC_AUTH": "Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=",
            "SEED_REFRESH_TOKEN": "sandbox-refresh-token", "JUMPER_API_URL": jumper,
            "RATE_PER_SECOND": "off", "CONCURRENT_API_CALLS": "100", "RUST_LOG": "info",
            "REDIS_URL": "redis+unix://" + socket,
        }
        args = ["serve", "--set", "http.port=0", "--set", "http.bind=127.0.0.1",
                "--set", "ops.addr=127.0.0.1:0"]
        child, said = start([BINARY, *args], env, directory, "the gateway is ready")
        self.children.append(child)
        said = re.sub(r"\x1b\[[0-9;]*m", "", said)
        self.public, self.ops = (re.search(rf"{name}=(\S+)", said)[1] for name in ("public", "ops"))
        webhook = f"http://{self.public}/jumper_callback"
        entry = [{"permission": "livechat", "webhook": webhook, "deliver": True}]
        self.ask("PUT", f"{jumper}/_sandbox/subscriptions", entry)

    def stop(self):
        for child in reversed(self.children):
            child.send_signal(signal.SIGKILL)
            child.wait()

    def ask(self, method, url, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        return json.load(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request))

    def used(self):
        return int(re.search(r"used_memory:(\d+)", self.redis("INFO", "memory"))[1])

    def channel(self, word):
        self.ask("POST", f"http://{self.ops}/api/channels/default/{word}", {})

    def post(self, first, last, values):
        connection = http.client.HTTPConnection(self.public)
        parameters = [{"type": "text", "text": value} for value in values]
        for n in range(first, last):
            body = json.dumps({
                "msg_id": f"65f0c0ffee{n:014}", "from": "12025550100", "to": f"+1202{2_000_000 + n}",
                "template": {"name": "order_update", "language": {"code": "en_US"},
                             "components": [{"type": "body", "parameters": parameters}]}})
            connection.request("POST", "/jumper_send_whatsapp", body, {"Authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse().read()
            assert b"success" in answer, answer

    def measure(self, values):
        self.channel("pause")
        empty = self.used()
        share = MESSAGES // POSTERS
        posters = [threading.Thread(target=self.post, args=(n * share, (n + 1) * share, values))
                   for n in range(POSTERS)]
        for one in posters:
            one.start()
        for one in posters:
            one.join()
        queued = self.used()
        self.channel("resume")
        while True:
            total = self.ask("GET", f"http://{self.ops}/api/ledger")["total"]
            if total["callbacks"]["taken"] >= 3 * share * POSTERS:
                break
            time.sleep(0.5)
        assert total["lost"] == 0 and total["failed"] == 0, total
        return (queued - empty) / (share * POSTERS), (self.used() - empty) / (share * POSTERS)


print(f"{MESSAGES} messages; bytes of Redis per message")
for name, values in BODIES.items():
    with tempfile.TemporaryDirectory() as directory:
        run = Run(directory)
        try:
            began = time.monotonic()
            queued, tracked = run.measure(values)
            print(f"{name}: queued {queued:.0f}, tracked {tracked:.0f} ({time.monotonic() - began:.0f} s)",
                  flush=True)
        finally:
            run.stop()
