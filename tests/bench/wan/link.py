"""A slow network: two network namespaces, joined by a process that delays, limits and drops packets.

The process passes packets between two TUN devices. It also counts trips, one after another: a packet has
a stamp, one higher than the highest stamp that had arrived at its sender. So the highest stamp that has
arrived is the length of the longest chain of packets in which each waited for the one before, and half of
it is the number of round trips. A busy computer makes a transfer slower, but it adds a trip only if a program
pauses for so long that another packet arrives first, such as an ACK.
"""

import collections
import contextlib
import ctypes
import fcntl
import mmap
import os
import pathlib
import random
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from typing import Iterator, NamedTuple, NoReturn

# The two sides, and their addresses.
CLIENT, SERVER = 0, 1
ADDRESSES = ("10.77.0.1", "10.77.0.2")
MTU = 1500
TUN = "/dev/net/tun"
# linux/if_tun.h, linux/sched.h
TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 1, 0x1000, 0x40000000
TCP = 6
# All runs use the same algorithm, whatever the machine's default. Nothing is learnt from earlier connections.
SETTINGS = {
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
    "net.ipv4.tcp_congestion_control": "reno",
    "net.ipv4.tcp_no_metrics_save": "1",
}

libc = ctypes.CDLL(None, use_errno=True)


class Line(NamedTuple):
    """The properties of a connection between two places."""

    # Seconds of a round trip.
    rtt: float = 0.05
    # Bits per second, in each direction.
    rate: float = 50e6
    # The share of packets that are lost.
    loss: float = 0.0
    # Bytes that wait for the line, in each direction; more are lost. None: as many as a round trip takes.
    queue: int | None = None

    def waiting(self) -> float:
        return self.queue if self.queue is not None else max(64 << 10, self.rate / 8 * self.rtt)

    def __str__(self) -> str:
        loss = f", loss {self.loss:.2%}" if self.loss else ""
        return f"RTT {self.rtt * 1e3:g} ms, {self.rate / 1e6:g} Mbit/s, queue {self.waiting() / 1024:.0f} KiB{loss}"


def _system_call(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _namespace() -> int:
    """Returns a descriptor of the network in which this thread is."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Link:
    """Two networks and the line between them. This thread stays on the client's side."""

    def __init__(self, line: Line) -> None:
        self.line, self._stack = line, contextlib.ExitStack()
        # The highest stamp that has arrived at each side, and the packets that were read, written and lost.
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)
        self._counts = memoryview(self._shared).cast("Q")
        try:
            self._networks, tunnels = [self._kept(_namespace())], []
            self._stack.callback(self._enter, self._networks[0])
            for side in (CLIENT, SERVER):
                _system_call(libc.unshare(CLONE_NEWNET))
                self._networks.append(self._kept(_namespace()))
                tunnels.append(self._tunnel(side))
            process = os.fork()
            if not process:
                _forward(tunnels, line, self._counts)
            self._stack.callback(os.waitpid, process, 0)
            self._stack.callback(os.kill, process, signal.SIGKILL)
            self._enter(self._networks[1 + CLIENT])
        except BaseException:
            self._stack.close()
            raise

    def _kept(self, descriptor: int) -> int:
        self._stack.callback(os.close, descriptor)
        return descriptor

    @staticmethod
    def _enter(network: int) -> None:
        _system_call(libc.setns(network, CLONE_NEWNET))

    def _tunnel(self, side: int) -> int:
        for name, value in SETTINGS.items():
            pathlib.Path("/proc/sys", name.replace(".", "/")).write_text(value)
        tunnel = self._kept(os.open(TUN, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
        fcntl.ioctl(tunnel, TUNSETIFF, struct.pack("16sH22x", b"wan", IFF_TUN | IFF_NO_PI))
        peer = ADDRESSES[1 - side]
        for words in (
            "link set lo up",
            f"address add {ADDRESSES[side]} peer {peer} dev wan",
            f"link set wan mtu {MTU} txqueuelen 10000 up",
        ):
            subprocess.run(["ip", *words.split()], check=True, stdin=subprocess.DEVNULL)
        return tunnel

    @contextlib.contextmanager
    def at(self, side: int) -> Iterator[None]:
        """Moves this thread, and so the programs that it starts, to a side."""
        before = _namespace()
        try:
            self._enter(self._networks[1 + side])
            yield
        finally:
            self._enter(before)
            os.close(before)

    def begin(self) -> None:
        """Waits until no packet is under way, and begins to count trips."""
        before = -1
        while (now := sum(self._counts[2:5])) != before or self._counts[2] != self._counts[3] + self._counts[4]:
            before = now
            time.sleep(self.line.rtt * 1.5)
        self._counts[CLIENT] = self._counts[SERVER] = 0

    def round_trips(self) -> float:
        """Returns the round trips, one after another, since `begin`."""
        return self._counts[CLIENT] / 2

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()


def _forward(tunnels: list[int], line: Line, counts: memoryview) -> NoReturn:
    """Passes packets until it is killed."""
    with contextlib.suppress(OSError):
        # Packets must not wait for programs that compute.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    chance, most = random.Random(1).random, line.waiting()
    # For each sender: the time at which the line is free again, and the packets under way.
    free, ways = [0.0, 0.0], (collections.deque(), collections.deque())
    while True:
        due = min((way[0][0] for way in ways if way), default=None)
        select.select(tunnels, [], [], None if due is None else max(0, due - time.monotonic()))
        # Read first: a packet that was sent before another arrived has not waited for it.
        for side, tunnel in enumerate(tunnels):
            with contextlib.suppress(BlockingIOError):
                while True:
                    packet = os.read(tunnel, MTU)
                    counts[2] += 1
                    now = time.monotonic()
                    begin = max(now, free[side])
                    if (begin - now) * line.rate / 8 > most or line.loss and chance() < line.loss:
                        counts[4] += 1
                        continue
                    free[side] = begin + len(packet) * 8 / line.rate
                    ways[side].append((free[side] + line.rtt / 2, counts[side] + 1, packet))
        now = time.monotonic()
        for side, way in enumerate(ways):
            while way and way[0][0] <= now:
                _, stamp, packet = way.popleft()
                if packet[9] == TCP:
                    counts[1 - side] = max(counts[1 - side], stamp)
                with contextlib.suppress(OSError):
                    os.write(tunnels[1 - side], packet)
                counts[3] += 1


def proof(line: Line, lines: int = 10) -> tuple[float, float, float]:
    """Has a dialogue whose round trips can be counted by hand. Returns the number by hand, by packets and by the clock.

    SYN and its answer are one, the greeting after the ACK is the second. Then there is one for each line
    that waits for its reply, and one for as many lines in one packet.
    """
    line = line._replace(loss=0.0)
    with Link(line) as link:
        with link.at(SERVER):
            listener = socket.create_server((ADDRESSES[SERVER], 0))
        thread = threading.Thread(target=_reply_to_lines, args=(listener,), daemon=True)
        thread.start()
        link.begin()
        began = time.monotonic()
        with socket.create_connection(listener.getsockname()) as session, session.makefile("rb") as replies:
            replies.readline()
            for _ in range(lines):
                session.sendall(b"NOOP\n")
                replies.readline()
            session.sendall(b"NOOP\n" * lines)
            for _ in range(lines):
                replies.readline()
            found = link.round_trips()
            seconds = time.monotonic() - began
        thread.join()
    return 2 + lines + 1, found, seconds / line.rtt


def _reply_to_lines(listener: socket.socket) -> None:
    with listener, listener.accept()[0] as session:
        session.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session.sendall(b"220\n")
        while block := session.recv(1 << 16):
            session.sendall(b"200\n" * block.count(b"\n"))
