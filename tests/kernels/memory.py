"""Runs the server with little memory: it must answer 421 when it is full, and never be killed.

    sudo python3 -B tests/kernels/memory.py [--program FILE] [NAME]...

NAME is 16, 32 or 64 (MiB of a control group), v60, v100, v200 or v400 (MiB of address space,
`ulimit -v`), or n400 (descriptors, `ulimit -n`); default: all. In each case, plain sessions, then
sessions under TLS, log in until the server refuses. A password hash of 7 MiB, and one that does not
fit, are checked at that point. After 4,000 refused connections, all sessions transfer files at once.

--program  test this program (default: target/debug/ftp-cli)

Needs root, and a control group with a limit of memory, v1 or v2. Exit status: 1 if a case fails.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading

import dialogues
import standins

MIB = 1024 * 1024
# The password is `p`: a hash of `ftp-cli passwd`, and one of 64 MiB.
CONFIGURATION = """
[listen]
addresses = ["127.0.0.1:0"]
[transfer]
sync = "none"
[timeouts]
idle = "1 h"
tls_handshake = "5 min"
stall = "5 min"
data_connect = "5 min"
[users.u]
password = "{usual}"
root = "{root}"
rights = "full"
[users.large]
password = "{large}"
root = "{root}"
[users.plain]
password = "$6$rounds=1000$saltsalt${quick}"
root = "{root}"
rights = "full"
"""


def refused(port, secure):
    """Logs in; returns the session, or None if the server refuses it with 421."""
    try:
        session = dialogues.Session(port, login=False)
    except AssertionError as error:
        assert "421" in str(error), error
        return None
    if secure:
        session.secure()
    session.expect("USER plain", 331)
    session.expect("PASS p", 230)
    session.expect("TYPE I", 200)
    return session


def play(program, name, top):
    root = os.path.join(top, "root")
    os.mkdir(root)
    dialogues.store(root, "f")
    run = lambda *words: subprocess.run(words, input="p\n", capture_output=True, text=True, check=True).stdout.strip()
    usual = run(program, "passwd")
    quick = run("openssl", "passwd", "-6", "-salt", "saltsalt", "p")
    group = standins.Group(int(name) * MIB) if name.isdigit() else None
    path = os.path.join(top, "server.toml")
    # A right hash is not needed where the hash does not fit.
    large = "$argon2id$v=19$m=65536,t=3,p=1$c2FsdHNhbHQ$" + "A" * 43
    text = CONFIGURATION.replace("$6$rounds=1000$saltsalt${quick}", quick)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.format(usual=usual, large=large, root=root))
    os.chmod(path, 0o600)

    def limited():
        if group:
            group.write("cgroup.procs", os.getpid())
        elif name[0] == "n":
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(name[1:]),) * 2)
        else:
            resource.setrlimit(resource.RLIMIT_AS, (int(name[1:]) * MIB,) * 2)

    command = [program, "serve", "--config", path, "--tls-self-signed"]
    environment = dict(os.environ, STATE_DIRECTORY=top)
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=limited)
    try:
        said, port, cap = "", None, None
        for line in server.stderr:
            said += line
            if found := re.search(r"at most (\d+) sessions, limited by (.*)", line):
                cap = found
            if "listening on 127.0.0.1:" in line:
                port = int(line.rsplit(":", 1)[1])
                break
        assert port, said
        lines = []
        threading.Thread(target=lambda: lines.extend(server.stderr), daemon=True).start()
        result = fill(server, group, port, cap, root)
        assert not [line for line in lines if "panicked" in line], "a thread panicked"
        return result
    finally:
        server.kill()
        server.wait()
        if group:
            os.rmdir(group.path)


def fill(server, group, port, cap, root):
    is_alive = lambda: server.poll() is None and not (group and group.killed())
    used = lambda: group.used() if group else 0
    counts, sessions, costs = [], [], []

    def hash_with(count):
        """Lets the server compute hashes beside `count` sessions, and returns the replies."""
        replies = []
        for name in ("u", "large"):
            try:
                session = dialogues.Session(port, login=False)
            except AssertionError as error:
                assert "421" in str(error), error
                replies.append(421)
                continue
            session.expect(f"USER {name}", 331)
            session.send("PASS p")
            replies.append(session.reply()[0])
            assert is_alive(), f"killed by the hash of {name} beside {count} sessions"
            session.send("QUIT")
            session.socket.close()
        return replies

    replies = hash_with(0)
    for secure, most in ((False, int(cap[1]) // 3), (True, int(cap[1]) * 3 // 4), (True, 100_000)):
        before, more = used(), []
        while len(sessions) + len(more) < most and (session := refused(port, secure)):
            more.append(session)
        costs.append((used() - before) // max(len(more), 1) // 1024)
        counts.append(len(more))
        sessions += more
        assert is_alive(), f"killed with {counts} sessions"
        if most < 100_000:
            replies += hash_with(len(sessions))
    for _ in range(4000):
        assert refused(port, False) is None
    outcome = {}
    for line in ("RETR f", "STOR {}"):
        transfers = []
        for number, session in enumerate(sessions):
            data = session.open()
            session.send(line.format(number))
            transfers.append((session, data))
        for session, data in transfers:
            code, text = session.reply()
            if code == 150:
                data = session.secured(data)
                if line.startswith("RETR"):
                    content = b""
                    while piece := data.recv(1 << 16):
                        content += piece
                    assert content == dialogues.CONTENT, "wrong content"
                else:
                    data.sendall(dialogues.CONTENT)
                    if session.protects:
                        data.unwrap()
                data.close()
                code, text = session.reply()
            outcome[code] = outcome.get(code, 0) + 1
            assert code in (226, 425, 451, 452), text
        assert is_alive(), f"killed by {line}"
    for session in sessions:
        session.expect("NOOP", 200)
    assert counts[0] and counts[1] and outcome.get(226), (counts, outcome)
    # One network gets seven eighths of the sessions that the server names at startup.
    assert len(sessions) >= int(cap[1]) * 3 // 4, f"{counts} of {cap[1]} sessions"
    # The C library can keep the space of some sessions for the next ones, so all end.
    for session in sessions:
        session.expect("QUIT", 221)
        session.socket.close()
    dialogues.until("a place is free", lambda: refused(port, False))
    cost = f", {costs[0]} and {costs[1]} KiB each" if group else ""
    held = f"{counts[0]} plain and {counts[1] + counts[2]} TLS sessions{cost}"
    return f"cap {cap[1]} ({cap[2]}); {held}; hashes {replies}; transfers {outcome}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/debug/ftp-cli")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    has_failed = False
    for name in options.names or ["16", "32", "64", "v60", "v100", "v200", "v400", "n400"]:
        with tempfile.TemporaryDirectory(prefix="ftp-memory-") as top:
            try:
                print(f"{name:5} {play(os.path.abspath(options.program), name, top)}", flush=True)
            except (AssertionError, OSError) as error:
                has_failed = True
                print(f"{name:5} failed: {error}", flush=True)
    return has_failed


sys.exit(main())
