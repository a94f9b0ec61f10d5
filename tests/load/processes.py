"""The processes that a measurement in Python starts by itself."""

import os, subprocess, sys, threading, time


def start(command, env, directory, line):
    """A process, and what it says in a line; what it says later is thrown away."""
    child = subprocess.Popen(command, env=env, cwd=directory, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for said in child.stdout:
        if line in said:
            threading.Thread(target=lambda: [None for _ in child.stdout], daemon=True).start()
            return child, said
    sys.exit(f"{command[1]} ended without {line!r}")


def start_redis(directory, appendonly):
    """A redis-server in a directory: the process, its socket, and a way to ask it."""
    socket = os.path.join(directory, "redis.sock")
    child = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", appendonly],
        cwd=directory, stdout=subprocess.DEVNULL)

    def redis(*words):
        done = subprocess.run(["redis-cli", "-s", socket, *map(str, words)], capture_output=True, text=True)
        return done.stdout

    while "PONG" not in redis("PING"):
        if child.poll() is not None:
            sys.exit("redis-server ended")
        time.sleep(0.05)
    return child, socket, redis
