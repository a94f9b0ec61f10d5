"""The processes that a measurement in Python starts by itself."""

import subprocess, sys, threading


def start(command, env, directory, line):
    """A process, and what it says in a line; what it says later is thrown away."""
    child = subprocess.Popen(command, env=env, cwd=directory, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for said in child.stdout:
        if line in said:
            threading.Thread(target=lambda: [None for _ in child.stdout], daemon=True).start()
            return child, said
    sys.exit(f"{command[1]} ended without {line!r}")
