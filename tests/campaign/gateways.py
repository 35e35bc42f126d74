"""A gateway: our server in front of another one, with a proxy between them that breaks transfers and changes what they say."""

import contextlib
import os
import pathlib
import random
import signal
import time
from typing import Iterator, Optional

import peers
from place import HOST
from proxy import KINDS, LISTINGS, Plan, Proxy, Struck
from server import hashed

# The names of gateways begin with it. The name of the other server follows.
TO = "gateway to "
# The state of a socket whose peer has closed it, as the kernel's table has it.
CLOSE_WAIT = "08"

CONFIGURATION = """
[listen]
addresses = ["{server.host}:{server.port}"]

[users.{server.user}]
password = "{hash}"
root = "{root}"
rights = "full"
{store}
[timeouts]
idle = "15 s"
stall = "3 s"
data_connect = "5 s"

[limits]
per_address = 0
ban_after = 0
"""
# The root of a gateway's users, and its store.
ROOT = "store:other"
STORE = """
[stores.other]
url = "ftp://{other.user}@{host}:{port}"
password_file = "{password}"
timeout = "{timeout} s"
"""
# Seconds for which a gateway waits for the other server.
TIMEOUT = 3


class Between(Proxy):
    """The proxy between a gateway and the other server. It stays for many actions."""

    def note(self, what: str) -> None:
        """Keeps no dialogue: it would grow for hours."""

    def begin(self, plan: Plan, dialogues: list) -> None:
        """Begins an action."""
        self.plan, self.switches, self.struck, self._turns = plan, dialogues, None, 0

    def end(self) -> None:
        """Waits until late commands have been carried out."""
        while self.late:
            self.late.pop().join()

    def fault(self) -> Optional[Struck]:
        """Returns the fault that happened. A gateway notices it, unless a listing ends early and in order."""
        if self.struck and self.struck.verb not in LISTINGS:
            return self.struck._replace(kind=f"{self.struck.kind} beyond the gateway")
        return self.struck


def kinds(others: list[peers.Kind]) -> list[peers.Kind]:
    """Returns the gateways to these servers. `running` starts one."""
    return [kind._replace(name=TO + kind.name) for kind in others]


def store_at(beyond, other: peers.Server, place: pathlib.Path) -> str:
    """Returns the settings of a store at the port of `beyond`, which may be a proxy. Its password is in a file of this directory."""
    secret = place / "password"
    secret.write_text(other.password)
    secret.chmod(0o600)
    return STORE.format(other=other, host=HOST, port=beyond.port, password=secret, timeout=TIMEOUT)


class Upstream:
    """The other server of a soak's gateway, with the proxy before it, and what goes wrong there."""

    def __init__(self, kind: peers.Kind, root: pathlib.Path, chance: random.Random) -> None:
        self.other, self.random = peers.Server(kind, root, tls=False), chance
        self.between = Between(self.other.port, Plan(), root=root)

    def __enter__(self) -> "Upstream":
        self.other.__enter__()
        self.between.__enter__()
        return self

    def __exit__(self, *_) -> None:
        self.between.__exit__()
        self.other.__exit__()

    def die(self) -> None:
        self._signal(signal.SIGKILL)
        self.other.process.wait()
        self.other.__enter__()

    def pause(self, seconds: float) -> None:
        self._signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        """Sends a signal to the other server, and to the processes of its sessions."""
        waiting = [self.other.pid]
        while waiting:
            process = waiting.pop()
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                waiting += map(int, pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split())
                os.kill(process, number)

    def lie(self, seconds: float) -> None:
        """Breaks the first transfer of some seconds."""
        self.between.begin(Plan(self.random.choice(KINDS), self.random.choice([0, 1, self.random.randint(0, 650_000)])), [])
        time.sleep(seconds)
        self.between.begin(Plan(), [])

    def is_busy(self) -> bool:
        """Returns whether the other server, or the proxy, has not noticed that its client is gone: it may still carry out a command."""
        ports = tuple(f":{port:04X}" for port in (self.other.port, self.between.port))
        lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(fields[1].endswith(ports) and fields[3] == CLOSE_WAIT for fields in lines)


def front(program: str, password: str, other: peers.Server, beyond, prefix: tuple[str, ...] = ()) -> peers.Kind:
    """Returns the gateway to a server that is reached at the port of `beyond`. Its command begins with `prefix`."""

    def command(server: peers.Server) -> list[str]:
        written, store = server.place / "gateway.toml", store_at(beyond, other, server.place)
        written.write_text(CONFIGURATION.format(server=server, hash=hashed(password), root=ROOT, store=store))
        return [*prefix, program, "serve", "--config", str(written)]

    return peers.Kind(other.kind.name, program, command, password=password)


@contextlib.contextmanager
def running(
    program: str, password: str, kind: peers.Kind, root: Optional[pathlib.Path], host: str
) -> Iterator[tuple[peers.Server, Between]]:
    """Runs another server and a gateway to it, which serves the same files."""
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(peers.Server(kind, root, tls=False))
        between = stack.enter_context(Between(other.port, Plan(), root=other.root))
        kind = front(program, password, other, between)
        yield stack.enter_context(peers.Server(kind, other.root, tls=False, host=host)), between
