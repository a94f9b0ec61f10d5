#!/usr/bin/env python3
"""How long one webhook holds up Redis, whatever is in it.

    tests/load/redis_webhooks.py target/release/gateway

Starts a redis-server, a sandbox and a gateway of its own, posts with the webhook's secret the bodies that cost
most, each kind until what is kept is full, and prints the slowest script of each kind as SLOWLOG has it.
Ends with exit code 1 where one held the server longer than 50 ms. Only Python's own library."""

import json, os, re, signal, sys, tempfile, time, urllib.request
from processes import start, start_redis

BINARY = os.path.abspath(sys.argv[1])
MOST_MS = 50
SECRET = "webhook-secret-of-the-load-run"
TOKEN = "tok-for-the-load-run"


def statuses(of, error=None):
    """A body of statuses, each (id, status, person)."""
    def one(id_, status, person):
        told = {"id": id_, "status": status, "timestamp": str(int(time.time())), "recipient_id": person}
        return told | ({"errors": [error]} if error else {})
    return {"entry": [{"changes": [{"value": {"statuses": [one(*parts) for parts in of]}}]}]}


def replies(of):
    """A body of replies, each (id, person, text, message that is quoted or nothing)."""
    def one(id_, person, text, quoted):
        data = {"messageid": id_, "mobile": person, "message": text}
        if quoted:
            data["replytomessage"] = {"messageid": quoted, "replied": True}
        return {"event": {"type": "NEW", "data": data}}
    return [one(*parts) for parts in of]


# Mexico, Argentina, Brazil: several numbers are one person.
def person(n):
    return ["52155%08d", "549111%07d", "551198%07d", "1202%07d"][n % 4] % (2_000_000 + n)


def kinds(sent):
    """Name, how often, and the body of each time; `sent` are messages that were sent: id, person."""
    each, texts = range(2000), range(15)
    stop = {"code": 131050, "title": "User has stopped marketing messages"}
    yield "made-up statuses", 40, lambda t: statuses((f"none-{t}-{n}", "sent", person(n)) for n in each)
    yield "failures with words", 30, lambda t: statuses(
        ((f"fail-{t}-{n}", "failed", person(n)) for n in each), {"code": 1, "title": "word " * 60})
    yield "many of one message", 3, lambda t: statuses((f"one-{t}", "read", person(n)) for n in each)
    yield "many ids of one person", 3, lambda t: statuses((f"who-{t}-{n}", "sent", person(7)) for n in each)
    yield "read of what was sent", 3, lambda t: statuses((sent[n % len(sent)][0], "read", sent[n % len(sent)][1]) for n in each)
    yield "131050 of what was sent", 2, lambda t: statuses(
        ((sent[n % len(sent)][0], "failed", sent[n % len(sent)][1]) for n in each), stop)
    yield "STOP of everybody", 3, lambda t: replies((f"stop-{t}-{n}", person(n), "STOP", None) for n in each)
    yield "START of everybody", 2, lambda t: replies((f"start-{t}-{n}", person(n), "START", None) for n in each)
    yield "answers to what was sent", 3, lambda t: replies(
        (f"re-{t}-{n}", sent[n % len(sent)][1], "yes", sent[n % len(sent)][0]) for n in each)
    yield "answers to what nobody sent", 3, lambda t: replies(
        (f"no-{t}-{n}", sent[0][1], "yes", f"none-{n}") for n in each)
    yield "long texts", 20, lambda t: replies((f"long-{t}-{n}", person(n), "x" * 60_000, None) for n in texts)
    yield "what is no event", 20, lambda t: [{"event": {"type": "NEW", "data": {"agent": 7, "message": "x" * 300, "messageid": f"{t}-{n}"}}} for n in each]


def main(directory, children):
    child, socket, redis = start_redis(directory, "yes")
    children.append(child)
    redis("CONFIG", "SET", "slowlog-log-slower-than", 1000)
    redis("CONFIG", "SET", "slowlog-max-len", 100_000)
    words = ["--knob", "rate_per_second=0", "--knob", "event_mode=none"]
    child, said = start([BINARY, "sandbox", "--port", "0", *words], {}, directory, "Jumper at")
    children.append(child)
    jumper = said.split()[-1]
    env = {
        "MOENGAGE_CALLBACK_URL": jumper + "/moengage/dlr", "MOENGAGE_AUTH_AGAINST": TOKEN,
        "JUMPER_BASIC_AUTH": "Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=",
        "SEED_REFRESH_TOKEN": "sandbox-refresh-token", "JUMPER_API_URL": jumper, "RATE_PER_SECOND": "off",
        "RUST_LOG": "info", "REDIS_URL": "redis+unix://" + socket, "WEBHOOK_SECRET": SECRET,
    }
    args = ["serve", "--set", "http.port=0", "--set", "http.bind=127.0.0.1", "--set", "ops.addr=127.0.0.1:0"]
    child, said = start([BINARY, *args], env, directory, "the gateway is ready")
    children.append(child)
    public = re.search(r"public=(\S+)", said)[1]

    def post(path, body):
        request = urllib.request.Request(f"http://{public}{path}", json.dumps(body).encode(), {
            "content-type": "application/json", "authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    for n in range(200):
        post("/jumper_send_whatsapp", {
            "msg_id": f"m{n}", "from": "12025550100", "to": "+" + person(n), "template": {
                "name": "order_update", "language": {"code": "en_US"}, "components": [
                    {"type": "body", "parameters": [{"type": "text", "text": "Ana"}, {"type": "text", "text": "A"}]}]}})
    with urllib.request.urlopen(jumper + "/_sandbox/sends?limit=1000", timeout=60) as answer:
        sends = json.load(answer)
    while len(sends) < 200:
        time.sleep(0.2)
        with urllib.request.urlopen(jumper + "/_sandbox/sends?limit=1000", timeout=60) as answer:
            sends = json.load(answer)
    sent = [(one["message_id"], one["to"]) for one in sends]
    worst = 0
    print("  most ms  runs > 1 ms  what the webhook held")
    for name, times, body in kinds(sent):
        redis("SLOWLOG", "RESET")
        for turn in range(times):
            post(f"/jumper_callback/{SECRET}", body(turn))
        slow = [int(took) for took in re.findall(r"^ +3\) \(integer\) (\d+)", redis("--no-raw", "SLOWLOG", "GET", -1), re.M)]
        most = max(slow, default=1000) / 1000
        worst = max(worst, most)
        print(f"{most:9.1f} {len(slow):12}  {name}, {times} times", flush=True)
    return 0 if worst <= MOST_MS else 1


with tempfile.TemporaryDirectory() as home:
    started = []
    try:
        code = main(home, started)
    finally:
        for one in reversed(started):
            one.send_signal(signal.SIGKILL)
            one.wait()
sys.exit(code)
