"""Measures the memory of idle sessions: KiB for each, of the server and its children.

    idle.py PROGRAM

Prints tab-separated values. What processes share counts once (PSS).
"""

import os
import pathlib
import time

import interrupted

SESSIONS = 50


def processes(top):
    """A process and all below it."""
    found, below = [top], {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        below.setdefault(parent, []).append(int(path.parent.name))
    for process in found:
        found.extend(below.get(process, []))
    return found


def share(top):
    """The memory of a server in KiB."""
    total = 0
    for process in processes(top):
        try:
            for line in pathlib.Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total


def main():
    print("server\tKiB a session")
    for name, program, command, more in interrupted.SERVERS:
        if not program or "," in name or name == "pyftpdlib":
            continue
        with interrupted.Server(name, command, **more) as server:
            sessions = []

            def login():
                session = interrupted.Session(server.port)
                session.say(f"USER {server.user}")
                session.say(f"PASS {server.password}")
                session.say("PWD")
                return session

            login().socket.close()
            time.sleep(1)
            before = share(server.process.pid)
            sessions = [login() for _ in range(SESSIONS)]
            time.sleep(1)
            print(name, round((share(server.process.pid) - before) / SESSIONS), sep="\t", flush=True)
            for session in sessions:
                session.socket.close()


main()
