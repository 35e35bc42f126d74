"""Measures figures: each function takes a server or a client and returns its figures by name.

A function raises OSError if the measurement fails, and LookupError if the server or client cannot do the
job. In both cases the server or client is left out of the rows.
"""

import contextlib
import os
import socket
import ssl
import statistics
import threading
import time

import clients
import processes
import servers
from place import LOAD

MS, US = 1e3, 1e6
# Maximum seconds while system calls are counted: a peer that needs longer makes too many of them.
COUNTED_WITHIN = 60
# The cipher and version that every connection under TLS must use.
CIPHER = ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)


def is_ours(kind):
    return kind.name.startswith("ftp-cli")


def _repeated(work, seconds):
    """Calls a function at least three times, until `seconds` have passed; returns the median of its results."""
    found, began = [], time.monotonic()
    while len(found) < 3 or time.monotonic() - began < seconds:
        found.append(work())
    return statistics.median(found)


# Servers.


def bulk(operation, name="large"):
    """Transfers a large file once."""

    def measure(place, kind):
        server = place.server(kind)
        size = (place.root / name).stat().st_size
        words = f"store:up/{name}:{place.root / name}" if operation == "store" else f"{operation}:{name}"
        moved = place.load(server, words, 1)
        if operation == "store":
            place.uploaded(size)
        elif moved.bytes < size:
            raise OSError(f"{moved.bytes} bytes of {size}")
        return {
            "speed": moved.speed,
            "server": moved.per_gib(moved.server),
            "both": moved.per_gib(moved.server + moved.client),
        }

    return measure


def bulk_calls(operation):
    """Counts the system calls of a session that transfers one large file, less those of an idle server."""

    def measure(place, kind):
        server = place.server(kind)
        none = processes.calls_of_server(server.pid, lambda: None)

        large = place.root / "large"
        words = f"store:up/large:{large}" if operation == "store" else f"{operation}:large"
        some = processes.calls_of_server(server.pid, lambda: place.load(server, words, 1, 1, COUNTED_WITHIN))
        place.uploaded(large.stat().st_size)
        return {"calls": some - none}

    return measure


def _words(place, operation):
    return f"store:up/small:{place.root / 'small'}" if operation == "store" else operation


def rate(operation):
    """Repeats a small operation over several connections."""

    def measure(place, kind):
        server = place.server(kind)
        done = place.load(server, _words(place, operation), f"{place.sizes.seconds}s", place.sizes.connections)
        place.uploaded(1024)
        return {"rate": done.count / done.seconds, "cpu": done.server / done.count * US}

    return measure


def calls(operation, few=20, many=120):
    """Counts the system calls of an operation: many repetitions less few, each in one session."""

    def measure(place, kind):
        server = place.server(kind)

        def count(times):
            words = _words(place, operation)

            def counted():
                found = processes.calls_of_server(server.pid, lambda: place.load(server, words, times, 1, COUNTED_WITHIN))
                # Each upload makes a new file.
                place.uploaded(1024)
                return found

            # On a busy machine, threads wait for data more often. The least number has the fewest of such calls.
            return min(counted() for _ in range(3))

        cost = (count(many) - count(few)) / (many - few)
        # Rounded, because other threads of the server can wake up meanwhile.
        return {"calls": round(cost, 1)}

    return measure


def listing(verb):
    """Lists the directory with many entries."""

    def measure(place, kind):
        seconds = listed(place, kind, verb, place.sizes.entries, f"{place.sizes.short}s")
        return {"ms": seconds * MS}

    return measure


def listed(place, kind, verb, entries, times):
    """Returns the seconds of one listing of a directory."""
    done = place.load(place.server(kind), f"{verb}:{place.directory(entries)}", times)
    if done.bytes < done.count * entries * len("file-000000\r\n"):
        raise OSError(f"{verb}: {done.bytes} bytes")
    return done.seconds / done.count


def listing_calls(verb):
    """Counts the system calls of a listing, without those of the session."""

    def measure(place, kind):
        return calls(f"{verb}:{place.directory(place.sizes.entries)}", 1, 2)(place, kind)

    return measure


def crowd(place, kind):
    """Runs many clients at once: each logs in, gets a small file ten times, and quits."""
    server = place.server(kind)
    words = ["crowd", str(server.port), server.user, server.password, str(place.sizes.crowd), "small"]
    at_rest = len(processes.tree(server.pid))
    seconds, login = clients.run([str(LOAD), *words]).output.split()
    processes.settle(server.pid, at_rest)
    return {"seconds": float(seconds), "login": float(login)}


def start(place, kind):
    """Measures the time from exec to the greeting."""
    server = servers.Server(kind, place.root, tls=False)
    try:
        command = [str(LOAD), "start", str(server.port), *server.command]

        def run():
            # A child of the previous server may still hold the port.
            time.sleep(0.05)
            return float(clients.run(command).output)

        return {"ms": _repeated(run, 2 * place.sizes.short)}
    finally:
        server.remove()


def idle(tls):
    """Measures the memory of an idle logged-in session, in a new server."""

    def measure(place, kind):
        return {"kib": memory_of_sessions(place, kind, tls, [place.sizes.idle])[0]}

    return measure


def memory_of_sessions(place, kind, tls, numbers):
    """Returns the KiB per session for each of these numbers of sessions. The very first session is not counted."""
    sessions, found = [], []

    def log_in(server, number):
        while len(sessions) < number:
            sessions.append(server.session(tls))
            sessions[-1].expect("PWD", "257")
        time.sleep(0.3)
        return processes.memory(server.pid)

    with servers.Server(kind, place.root, tls) as server:
        try:
            before = log_in(server, 1)
            for number in numbers:
                found.append((log_in(server, 1 + number) - before) / number)
        finally:
            for session in sessions:
                session.close()
    return found


# Servers under TLS. The client uses Python's OpenSSL, whose own cost is not counted.


def _receive(data, size):
    buffer, left = bytearray(1 << 18), size
    while count := data.recv_into(buffer):
        left -= count
    if left:
        raise OSError(f"{left} bytes are missing")


def _send(data, path):
    with open(path, "rb") as file:
        while block := file.read(1 << 18):
            data.sendall(block)
    # Some servers answer close_notify, and others close at once.
    with contextlib.suppress(OSError, ssl.SSLError):
        data = data.unwrap()
    with contextlib.suppress(OSError):
        data.shutdown(socket.SHUT_WR)


def _agrees(secured):
    if secured.cipher() != CIPHER:
        raise OSError(f"{secured.version()} with {secured.cipher()[0]}, and not {' with '.join(CIPHER[1::-1])}")


def tls_bulk(command):
    """Transfers a file under TLS."""

    def measure(place, kind):
        server, file = place.server(kind, tls=True), place.root / "half"
        size = file.stat().st_size
        at_rest, before = len(processes.tree(server.pid)), processes.processor(server.pid)
        session = server.session(tls=True)
        session.protect()
        session.expect("TYPE I", "200")
        began = time.perf_counter()
        with session.begin(f"{command} {'up/half' if command == 'STOR' else 'half'}") as data:
            _agrees(data)
            _receive(data, size) if command == "RETR" else _send(data, file)
        said = session.reply()
        seconds = time.perf_counter() - began
        session.say("QUIT")
        session.close()
        processes.settle(server.pid, at_rest)
        cost = processes.processor(server.pid) - before
        place.uploaded(size)
        if not said.startswith("226"):
            raise OSError(f"{command}: {said}")
        return {"speed": size / seconds / 1e6, "cpu": cost * (1 << 30) / size}

    return measure


def tls_login(place, kind):
    """Measures sessions that consist of a full handshake, a login and QUIT."""
    server, number = place.server(kind, tls=True), place.sizes.handshakes
    at_rest, before = len(processes.tree(server.pid)), processes.processor(server.pid)
    for _ in range(number):
        session = server.session(tls=True)
        _agrees(session.socket)
        session.say("QUIT")
        session.close()
    processes.settle(server.pid, at_rest)
    return {"cpu": (processes.processor(server.pid) - before) / number * MS}


# Loopback without a server.


def ceiling(sink):
    """Measures a plain sender with sendfile, and a sink that copies, discards, or writes the data to a file."""

    def measure(place):
        with place.target() as path:
            ran = clients.run([str(LOAD), "ceiling", str(place.root / "large"), path if sink == "write" else sink])
        _, seconds, total = ran.output.split()
        return {"speed": int(total) / float(seconds) / 1e6, "both": ran.processor * (1 << 30) / int(total)}

    return measure


# Clients, all against one server.


def _job(place, remote, local, port=None):
    server = place.server(place.against)
    return clients.Job(port or server.port, server.user, server.password, remote, str(local))


def _command(place, kind, name, job):
    command = kind.command(name, job)
    if not command:
        raise LookupError(f"{kind.name} cannot {name}")
    return command


def _fetch(place, kind, name, run=clients.run):
    """Downloads a file, and checks its length."""
    with place.target() as path:
        # NcFTP keeps the remote name.
        path = path.replace("fetched", name)
        ran = run(_command(place, kind, "get", _job(place, name, path)))
        with open(path, "rb") as file:
            if file.seek(0, 2) != (place.root / name).stat().st_size:
                raise OSError(f"{kind.name}: get: the file is not whole")
    return ran


def _give(place, kind, name, run=clients.run):
    """Uploads a file, and checks its length."""
    source = place.root / name
    ran = run(_command(place, kind, "put", _job(place, f"up/{name}", source)))
    if place.uploaded(source.stat().st_size) != 1:
        raise OSError(f"{kind.name}: put: no file")
    return ran


def get_small(place, kind):
    """Measures a download of a small file, which the start of the program dominates."""
    return {"ms": _repeated(lambda: _fetch(place, kind, "small").seconds, place.sizes.short) * MS}


def get_large(place, kind):
    return _moved(place, _fetch(place, kind, "large"))


def put_large(place, kind):
    return _moved(place, _give(place, kind, "large"))


def _moved(place, ran):
    mib = place.sizes.mib
    return {"speed": mib * (1 << 20) / ran.seconds / 1e6, "cpu": ran.processor * 1024 / mib}


def calls_of_client(move, file):
    """Counts the system calls of a client from exec to its end."""

    def measure(place, kind):
        def run(command):
            return processes.calls_of_program(command, clients.run)

        return {"calls": move(place, kind, file, run)}

    return measure


get_small_calls = calls_of_client(_fetch, "small")
get_large_calls = calls_of_client(_fetch, "large")
put_large_calls = calls_of_client(_give, "large")


def _mirror(place, kind, name, remote="tree", port=None):
    with place.target() as path:
        path = path.replace("fetched", "tree")
        ran = clients.run(_command(place, kind, name, _job(place, remote, path, port)))
        found = sum(len(files) for _, _, files in os.walk(path))
        if remote == "tree" and found < place.sizes.files:
            raise OSError(f"{kind.name}: {name}: {found} files")
    return ran.seconds


def mirror(place, kind):
    """Downloads a directory of small files; our client also does so over four connections."""
    one = _mirror(place, kind, "mirror")
    figures = {"rate": place.sizes.files / one}
    if "mirror -j 4" in kind.jobs:
        figures["gain"] = one / _mirror(place, kind, "mirror -j 4")
    return figures


def flights(place, kind):
    """Counts how often a client with --pipeline waits for replies, per mirrored file."""
    server = place.server(place.against)
    counts = []
    for remote in ("none", "tree"):
        with Flights(server.port) as proxy:
            _mirror(place, kind, "mirror --pipeline", remote, proxy.port)
            counts.append(proxy.flights)
    return {"flights": (counts[1] - counts[0]) / place.sizes.files}


class Flights:
    """Relays one control connection, and counts how often the client sends after it has received something."""

    def __init__(self, port):
        self.to, self.flights, self._has_replies = port, 0, True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.to))
            for stream in (client, server):
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()
            self._pass(client, server, True)

    def _pass(self, source, target, is_client):
        with contextlib.suppress(OSError):
            while block := source.recv(1 << 16):
                if is_client and self._has_replies:
                    self.flights += 1
                self._has_replies = not is_client
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)


def list_many(place, kind):
    """Lists the directory with many entries, with sizes and times."""
    command = _command(place, kind, "ls", _job(place, place.directory(place.sizes.entries), ""))

    def run():
        ran = clients.run(command)
        if ran.output.count("file-") < place.sizes.entries:
            raise OSError(f"{kind.name}: ls: entries are missing")
        return ran.seconds

    return {"ms": _repeated(run, place.sizes.short) * MS}
