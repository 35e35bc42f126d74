"""A proxy for FTP without TLS, in passive mode, that breaks a transfer according to a plan."""

import collections
import contextlib
import fcntl
import os
import pathlib
import re
import select
import socket
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional, Sequence

if TYPE_CHECKING:
    from switches import Dialogue

HOST = "127.0.0.1"
BLOCK = 16_384
# Maximum time that the final reply waits for the last byte, in seconds.
PATIENCE = 5
# What can happen to a data connection, after some bytes:
#   swallow       the rest never arrives, but both sides see an orderly end
#   reset         both sides see a reset
#   stall         no more bytes are relayed
#   error         as swallow, and the final reply is 426
#   lost control  the control connection ends, and the data connection is reset
#   mute          the data arrives, but no reply follows
KINDS = ("swallow", "reset", "stall", "error", "lost control", "mute")
# The final reply of a transfer.
FINAL = re.compile(rb"[2-5]\d\d ")
# The final replies that confirm an upload.
CONFIRMED = (b"226 ", b"250 ")
PASSIVE = re.compile(rb"227 .*?(\d+),(\d+),(\d+),(\d+),(\d+),(\d+)")
EXTENDED = re.compile(rb"229 .*\(\|\|\|(\d+)\|\)")
LISTINGS = (b"LIST", b"NLST", b"MLSD")
MOVERS = (b"RETR", b"STOR", b"APPE", *LISTINGS)
UPLOADS = (b"STOR", b"APPE")
# Commands after which the file of an upload can be another one.
CHANGES = (*UPLOADS, b"DELE", b"RNFR", b"RNTO")


class Plan(NamedTuple):
    """The fault of one transfer, and the number of that transfer, from 0 on."""

    kind: str = ""
    at: int = 0
    turn: int = 0
    # If set, only transfers by this command count.
    verb: bytes = b""


class Struck(NamedTuple):
    """The fault that happened."""

    kind: str
    verb: bytes


def reset(connection: socket.socket) -> None:
    """Ends a connection so that the peer sees a reset."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def await_sent(connection: socket.socket) -> None:
    """Waits until the peer's system has all bytes: a reset discards the others."""
    end = time.monotonic() + PATIENCE
    while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0] and time.monotonic() < end:
        time.sleep(0.001)


class Expected(NamedTuple):
    """A reply that the server owes: to which command, and what the client hears in its place. Without `is_heard`, nothing."""

    word: bytes
    hears: Optional[bytes] = None
    is_heard: bool = True


class Proxy:
    """Listens on its own port. `with` closes all connections at the end."""

    def __init__(
        self, port: int, plan: Plan, silent_after: Optional[bytes] = None, at: str = HOST, host: str = HOST, own: int = 0,
        switches: Sequence["Dialogue"] = (), root: pathlib.Path = pathlib.Path("/"),
        meanwhile: Callable[[bytes, int], None] = lambda verb, moved: None,
    ) -> None:
        """`silent_after`: the command from which on the server sends no replies; empty: not even a greeting.

        `at` is the server's address; `host` and `own` are the address and the port of the proxy. Our client resumes only
        what it has sent to the same port. `switches` change the dialogue; `root` is where the server's paths begin.
        `meanwhile` is called before each block of a transfer, and at each further connection.
        """
        self.switches, self.root, self.meanwhile = switches, root, meanwhile
        self.sessions: list["Session"] = []
        self.late: list[threading.Thread] = []
        self.target, self.plan, self.silent_after, self.host = (at, port), plan, silent_after, host
        self.struck: Optional[Struck] = None
        self.lines: list[bytes] = []
        # Commands, replies and transfers, each with the seconds since the proxy's start.
        self.dialogue: list[str] = []
        # The number of uploads that began, and the bytes of the last one, if the server has confirmed that it stored
        # them as a whole file, and no later command can have changed that file.
        self.uploads = 0
        self.confirmed: Optional[bytes] = None
        # The bytes of the last whole uploads that it has confirmed.
        self.stored: list[bytes] = []
        self._turns, self._began = 0, time.monotonic()
        self._listener = socket.create_server((host, own))
        self._open: list[socket.socket] = [self._listener]
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        for thread in self.late:
            thread.join()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()

    def _keep(self, connection: socket.socket) -> socket.socket:
        with self._lock:
            self._open.append(connection)
        return connection

    def drop(self, connection: socket.socket) -> None:
        """Closes a connection that has ended: some proxies stay for hours."""
        with self._lock, contextlib.suppress(ValueError):
            self._open.remove(connection)
        connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._keep(self._listener.accept()[0])
                try:
                    server = self.connect(client, self.target[1])
                except OSError:
                    # The server is being started again.
                    reset(client)
                    self.drop(client)
                    continue
                session = Session(self, client, server)
                self.sessions.append(session)
                for switch in self.switches:
                    switch.accepted(self.sessions)
                if len(self.sessions) > 1:
                    self.meanwhile(b"", 0)
                threading.Thread(target=session.run, daemon=True).start()

    def connect(self, client: socket.socket, port: int) -> socket.socket:
        """Connects to a port of the server, from the client's address if that is a loopback address."""
        source = (client.getpeername()[0], 0) if self.target[0] == self.host == HOST else None
        return self._keep(socket.create_connection((self.target[0], port), 10, source))

    def note(self, what: str) -> None:
        """Adds a line to the dialogue."""
        self.dialogue.append(f"{time.monotonic() - self._began:.3f} {what}")

    def before_strike(self) -> None:
        """Does what a subclass wants to happen just before the fault."""

    def next_plan(self, verb: bytes) -> Plan:
        """Returns the plan for a transfer that begins now."""
        with self._lock:
            if not self.plan.kind or (self.plan.verb and self.plan.verb != verb):
                return Plan()
            self._turns += 1
            return self.plan if self._turns - 1 == self.plan.turn else Plan()


class Session:
    """A control connection with its data connections."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.verb, self.is_mute, self.breaks_reply = b"", False, False
        # Whether the next transfer begins at an offset, whether the last one was an upload of a whole file, and what
        # the server has received in it.
        self.has_offset, self.resumes, self.is_whole, self.received = False, False, False, bytearray()
        # Whether a transfer has begun, and whether its last byte was relayed: the final reply must not overtake it.
        self.has_begun, self.carried = False, threading.Event()
        # The replies that the server owes, the greeting first; the code of a reply of several lines, of which some came.
        self.expected, self.several = collections.deque([Expected(b"")]), b""
        self.directory, self.is_over, self.is_forsaken = proxy.root, False, False
        # Where the client may still connect for data.
        self.listeners: set[socket.socket] = set()

    def run(self) -> None:
        """Relays lines until either side ends, and closes both connections."""
        self.relay_lines()
        if not self.is_forsaken:
            self.proxy.drop(self.client)
            self.proxy.drop(self.server)

    def relay_lines(self) -> None:
        self.is_mute = self.proxy.silent_after == b""
        buffers = {self.client: b"", self.server: b""}
        with contextlib.suppress(OSError, ValueError):
            while True:
                for side in select.select([self.client, self.server], [], [])[0]:
                    data = side.recv(BLOCK)
                    if not data:
                        return None if self.is_forsaken else self.end()
                    if side is self.client:
                        for switch in self.proxy.switches:
                            data = switch.packet(data)
                    *lines, buffers[side] = (buffers[side] + data).split(b"\n")
                    for line in lines:
                        self.pass_on(side, line + b"\n")
        self.end()

    def end(self) -> None:
        self.is_over = True
        for side in (self.client, self.server, *self.listeners):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def forsake(self, line: bytes, seconds: float) -> None:
        """Ends the connection of the client. The server gets a command later, and then the end."""

        def send() -> None:
            time.sleep(seconds)
            with contextlib.suppress(OSError):
                self.server.sendall(line)
                self.server.shutdown(socket.SHUT_WR)
                while self.server.recv(BLOCK):
                    pass

        self.is_forsaken = self.is_over = True
        self.client.shutdown(socket.SHUT_RDWR)
        self.proxy.late.append(threading.Thread(target=send))
        self.proxy.late[-1].start()

    def path(self, name: bytes) -> pathlib.Path:
        """Returns the path on disk that a name means to the server."""
        text = name.decode(errors="surrogateescape")
        top = str(self.proxy.root)
        if text == top or text.startswith(f"{top}/"):
            return pathlib.Path(text)
        return pathlib.Path(os.path.normpath(self.proxy.root / text.lstrip("/") if text[:1] == "/" else self.directory / text))

    def is_last(self, line: bytes) -> bool:
        """Returns whether this is the last line of a final reply."""
        if self.several:
            code, is_last = self.several, line[:4] == self.several + b" "
            self.several = b"" if is_last else code
            # Pure-FTPd's 150 has two lines.
            return is_last and code[:1] != b"1"
        if line[:3].isdigit() and line[3:4] == b"-":
            self.several = line[:3]
        return bool(FINAL.match(line))

    def send(self, word: bytes, rest: bytes, line: bytes) -> None:
        """Sends a command, or what a switch makes of it."""
        instead = next(filter(None, (switch.command(self, word, rest) for switch in self.proxy.switches)), None)
        if word == b"CWD" and self.path(rest).is_dir():
            self.directory = self.path(rest)
        elif word == b"CDUP":
            self.directory = self.directory.parent
        orders = [(line, Expected(word))]
        if instead:
            self.proxy.note(f"> in its place: {instead}")
            orders = [(instead.first, Expected(b"REST", None, False)), (instead.sends, Expected(word, instead.hears))]
        for order, expected in orders:
            if order:
                self.expected.append(expected)
                self.server.sendall(order)

    def pass_on(self, side: socket.socket, line: bytes) -> None:
        if side is self.client:
            word, _, rest = line.strip(b"\r\n").partition(b" ")
            word = word.upper()
            had_offset = self.has_offset
            self.proxy.lines.append(line)
            self.proxy.note(f"> {'PASS' if word == b'PASS' else line.decode(errors='backslashreplace').rstrip()}")
            if word in CHANGES:
                self.proxy.confirmed = None
            if word == b"REST":
                self.has_offset = line.split()[1:] != [b"0"]
            if word in MOVERS:
                self.verb, self.is_whole = word, word == b"STOR" and not self.has_offset
                self.has_offset = False
            if word in UPLOADS:
                self.proxy.uploads += 1
            if word == self.proxy.silent_after:
                self.is_mute = True
            self.resumes = had_offset
            self.send(word, rest, line)
        else:
            self.proxy.note(f"< {line.decode(errors='backslashreplace').rstrip()}")
            if line[:1] == b"1":
                self.has_begun = True
            elif self.has_begun and FINAL.match(line):
                self.has_begun = False
                if self.carried.wait(PATIENCE) and self.is_whole and line[:4] in CONFIRMED:
                    self.proxy.confirmed = bytes(self.received)
                    self.proxy.stored = [*self.proxy.stored[-3:], self.proxy.confirmed]
                if self.breaks_reply and line[:1] == b"2":
                    self.breaks_reply, line = False, b"426 The transfer is broken\r\n"
            if self.is_last(line):
                expected = self.expected.popleft() if self.expected else Expected(b"")
                line = (expected.hears or line) if expected.is_heard else b""
                for switch in self.proxy.switches if line else ():
                    line = switch.reply(self, expected.word, line)
            if line and not self.is_mute:
                self.client.sendall(self.with_own_port(line))

    def with_own_port(self, line: bytes) -> bytes:
        """Returns a line, with a port of the proxy if it is the reply to EPSV or PASV."""
        passive, extended = PASSIVE.match(line), EXTENDED.match(line)
        if not passive and not extended:
            return line
        port = int(extended[1]) if extended else int(passive[5]) * 256 + int(passive[6])
        listener = self.proxy._keep(socket.create_server((self.proxy.host, 0)))
        self.listeners.add(listener)
        self.carried.clear()
        self.received = bytearray()
        threading.Thread(target=self.data, args=(listener, port), daemon=True).start()
        own = listener.getsockname()[1]
        if extended:
            return b"229 Extended passive (|||%d|)\r\n" % own
        host = self.proxy.host.replace(".", ",").encode()
        return b"227 Passive (%s,%d,%d)\r\n" % (host, own // 256, own % 256)

    def data(self, listener: socket.socket, port: int) -> None:
        """Relays the bytes of one transfer."""
        ended = [listener]
        try:
            with contextlib.suppress(OSError):
                near = self.proxy._keep(listener.accept()[0])
                ended.append(near)
                listener.close()
                far = self.proxy.connect(near, port)
                ended.append(far)
                self.carry(near, far)
        finally:
            self.carried.set()
            self.listeners.discard(listener)
            for connection in ended:
                self.proxy.drop(connection)

    def carry(self, near: socket.socket, far: socket.socket) -> None:
        moved, plan, switches = 0, None, self.proxy.switches
        while True:
            side = select.select([near, far], [], [])[0][0]
            other = far if side is near else near
            data = side.recv(BLOCK)
            if plan is None:
                # By now the client has sent the command.
                plan = self.proxy.next_plan(self.verb)
                if self.verb in LISTINGS and switches and not plan.kind:
                    data = self.changed(side, data)
                    self.relay(data, other)
                    data = b""
            if plan.kind and moved + len(data) >= plan.at:
                self.relay(data[: plan.at - moved], other)
                self.proxy.note(f"{plan.kind} after {plan.at} bytes of {self.verb.decode()}")
                return self.strike(plan.kind, side, other, data[plan.at - moved :])
            if self.verb not in LISTINGS:
                self.proxy.meanwhile(self.verb, moved)
            if not data:
                self.proxy.note(f"end after {moved} bytes of {self.verb.decode()}")
                if any(switch.resets(self.verb) for switch in switches):
                    await_sent(other)
                    reset(other)
                    side.close()
                    return self.carried.set()
                other.shutdown(socket.SHUT_WR)
                self.carried.set()
                return self.drain(other, side)
            self.relay(data, other)
            moved += len(data)

    def changed(self, side: socket.socket, data: bytes) -> bytes:
        """Returns a listing as the switches change it. `data` is its beginning."""
        while data and (more := side.recv(BLOCK)):
            data += more
        lines = data.splitlines(keepends=True)
        for switch in self.proxy.switches:
            lines = switch.listing(self, self.verb, lines)
        return b"".join(lines)

    def relay(self, data: bytes, other: socket.socket) -> None:
        """Relays bytes, and keeps those of an upload."""
        other.sendall(data)
        if self.verb in UPLOADS:
            self.received += data

    def strike(self, kind: str, side: socket.socket, other: socket.socket, rest: bytes) -> None:
        """Causes the fault; `side` is the sender."""
        self.proxy.struck = Struck(kind, self.verb)
        self.proxy.before_strike()
        if kind == "mute":
            self.is_mute = True
            self.relay(rest, other)
            while data := side.recv(BLOCK):
                self.relay(data, other)
            other.shutdown(socket.SHUT_WR)
        elif kind in ("swallow", "error"):
            self.breaks_reply = kind == "error"
            self.carried.set()
            other.shutdown(socket.SHUT_WR)
            self.drain(side, other)
        elif kind in ("reset", "lost control"):
            reset(side)
            reset(other)
            if kind == "lost control":
                self.end()
        elif kind == "stall":
            # Some servers do not look at the control connection while they wait for data.
            while not self.is_over:
                time.sleep(0.05)
            reset(side)
            reset(other)

    @staticmethod
    def drain(side: socket.socket, other: socket.socket) -> None:
        """Reads the rest, and closes both connections in order."""
        while side.recv(BLOCK):
            pass
        side.close()
        other.close()
