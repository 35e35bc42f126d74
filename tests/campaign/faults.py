"""Faults that are caused on purpose, and a record of when they happened."""

import contextlib
import random
import signal
import subprocess
import threading
import time
from typing import NamedTuple, Optional, Protocol

import gateways
import server as servers
from findings import Findings
from place import CERTIFICATES, CONTROL, IMPLICIT, Place, full_disk, run

TABLE = "campaign"
PORTS = f"{{ {CONTROL}, {IMPLICIT} }}"

# Faults of one client or its connections.
LOCAL = ("reset", "silence", "stop", "kill", "terminate")
# Faults of the server or its machine.
GLOBAL = ("crash", "full disk", "descriptors", "reload", "bad reload", "certificate", "bad certificate", "clock")
KINDS = LOCAL + GLOBAL
# Faults of the server beyond a gateway: it is killed, it stands still, or a transfer to it breaks.
BEYOND = ("upstream killed", "upstream slow", "upstream lies")
# What the log says about a reload of each kind.
RELOADS = {"reload": "reloaded", "bad reload": "unchanged", "certificate": "reloaded", "bad certificate": "unchanged"}
INVALID = '\n[transfer]\nsync = "sometimes"\n'
# The clock is set forward or back by at most this number of seconds: certificates stay valid, and so do
# interrupted uploads, which the server keeps for 12 hours. The file system's clock does not change.
CLOCK_STEPS = 5 * 3_600


class Window(NamedTuple):
    """An interval during which all clients were affected by a fault."""

    kind: str
    begin: float
    end: float


class Chosen(Protocol):
    """The part of a soak's scope that is about faults."""

    faults: tuple[str, ...]


class Faults:
    """All faults of a run. Faults of the server happen one at a time."""

    def __init__(
        self, place: Place, server: servers.Server, seed: int, scope: Chosen, addresses: list[str], findings: Findings,
        upstream: Optional[gateways.Upstream] = None,
    ) -> None:  # fmt: skip
        self.place, self.server, self.findings, self.upstream = place, server, findings, upstream
        self.random = random.Random(f"{seed}/faults")
        self.kinds = scope.faults + (BEYOND if upstream else ())
        self.counts = dict.fromkeys(self.kinds, 0)
        # Whether the server may be killed: the end of a run compares the memory of one process.
        self.crashes = True
        self._windows: list[Window] = []
        self._open: dict[str, float] = {}
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._deck: list[str] = []
        # The certificate and the greeting that the server must show.
        self._certificate, self._banner = 0, "Service ready"
        self._make_table(addresses)

    def _make_table(self, addresses: list[str]) -> None:
        run("nft", f"add table ip {TABLE}")
        run("nft", f"add chain ip {TABLE} input {{ type filter hook input priority 0; }}")
        for address in addresses:
            run("nft", f"add chain ip {TABLE} {_chain(address)}")
            for side in ("saddr", "daddr"):
                run("nft", f"add rule ip {TABLE} input ip {side} {address} jump {_chain(address)}")

    def draw(self) -> Optional[str]:
        """Returns the next kind of fault. Each kind is equally frequent. None if no fault is possible now."""
        with self._lock:
            if self.kinds == ("crash",) and not self.crashes:
                return None
            while True:
                if not self._deck:
                    self._deck = self.random.sample(self.kinds, len(self.kinds))
                kind = self._deck.pop()
                if self.crashes or kind != "crash":
                    return kind

    def between(self, begin: float, end: float) -> Optional[str]:
        """Returns a fault that affected all clients at some time of this interval; None if there was none."""
        with self._lock:
            found = [window.kind for window in self._windows if window.begin <= end and begin <= window.end]
            found += [kind for kind, since in self._open.items() if since <= end]
        return next(iter(sorted(found)), None)

    def crashed_between(self, begin: float, end: float) -> bool:
        """Returns whether the server was killed in this interval, or was still being restarted."""
        with self._lock:
            is_open = self._open.get("crash", end) < end
            return is_open or any(w.kind == "crash" and w.begin <= end and begin <= w.end for w in self._windows)

    def last_crash(self) -> float:
        """Returns when the server was last started after it was killed."""
        with self._lock:
            return max((window.end for window in self._windows if window.kind == "crash"), default=0.0)

    @contextlib.contextmanager
    def _window(self, kind: str):
        with self._lock:
            self._open[kind] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._windows.append(Window(kind, self._open.pop(kind), time.monotonic()))

    def strike(self, kind: str, address: str, process: subprocess.Popen, delay: float, length: float) -> bool:
        """Causes a fault `delay` seconds after a client began. Returns False if the client ended before."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(delay)
            if kind in LOCAL:
                with self._lock:
                    # This kind is drawn again later.
                    self._deck.append(kind)
                return False
        if kind in LOCAL:
            self._strike_client(kind, address, process, length)
        else:
            with self._turn:
                self._strike_server(kind, length)
        with self._lock:
            self.counts[kind] += 1
        return True

    def _strike_client(self, kind: str, address: str, process: subprocess.Popen, length: float) -> None:
        if kind in ("kill", "terminate"):
            process.send_signal(signal.SIGKILL if kind == "kill" else signal.SIGTERM)
        elif kind == "stop":
            process.send_signal(signal.SIGSTOP)
            time.sleep(length)
            process.send_signal(signal.SIGCONT)
        else:
            data = f"tcp dport != {PORTS} tcp sport != {PORTS}"
            some = self.random.choice([data, data, ""])
            end = "reject with tcp reset" if kind == "reset" else "drop"
            run("nft", f"add rule ip {TABLE} {_chain(address)} meta l4proto tcp {some} {end}")
            time.sleep(length if kind == "silence" else 0.3)
            run("nft", f"flush chain ip {TABLE} {_chain(address)}")

    def _strike_server(self, kind: str, length: float) -> None:
        if kind == "crash":
            with self._window(kind):
                self.server.crash()
        elif kind == "full disk":
            with self._window(kind), full_disk(self.place.disk, self.random.choice([0, 4096, 200_000])):
                time.sleep(length)
        elif kind == "descriptors":
            with self._window(kind), self.server.few_descriptors(self.random.choice([0, 1, 3, 8])):
                time.sleep(length)
        elif kind in RELOADS:
            self._reload(kind)
        elif kind in BEYOND:
            with self._window(kind):
                if kind == "upstream killed":
                    self.upstream.die()
                elif kind == "upstream slow":
                    # Longer than a gateway waits, or not.
                    self.upstream.pause(self.random.choice([1.0, 5.0]))
                else:
                    self.upstream.lie(length)
                # Whoever waits for a broken connection notices it only now.
                time.sleep(gateways.TIMEOUT)
        else:
            self.server.set_clock(self.random.randint(-CLOCK_STEPS, CLOCK_STEPS))

    def _reload(self, kind: str) -> None:
        """Reloads the server, and checks that it shows the valid banner and certificate."""
        following = (self._certificate + 1) % CERTIFICATES
        if kind == "reload":
            self._banner = f"Ready again {self.counts[kind]}"
            self.server.configure(self._banner)
        elif kind == "bad reload":
            self.server.configure("Never seen", INVALID)
        elif kind == "certificate":
            self._certificate = following
            self.server.set_certificate(following)
        else:
            self.server.set_certificate(following, key=self._certificate)
        said = self.server.reload()
        if said != RELOADS[kind]:
            self.findings.add(f"{kind}: the log says {said}, must say {RELOADS[kind]}")
        try:
            greeting, serial = self.server.greeting(), self.server.serial()
            if greeting != f"220 {self._banner}" or serial != self._certificate + 1:
                wanted = f"220 {self._banner}, certificate {self._certificate + 1}"
                self.findings.add(f"{kind}: the server shows {greeting}, certificate {serial}; must show {wanted}")
        except (OSError, ValueError) as error:
            self.findings.add(f"{kind}: no connection afterwards: {type(error).__name__}: {error}")
        # If the server is killed now, it must be able to start again.
        self.server.configure(self._banner)
        self.server.set_certificate(self._certificate)


def _chain(address: str) -> str:
    return "w" + address.replace(".", "-")
