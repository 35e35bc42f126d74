"""Small machines, old kernels and slow networks, in which a part of the servers and clients of a run live.

Half of all programs run as they are. The others get a control group of 64 MiB, a limit of their address space, or a
filter without the system calls that Linux 3.10 lacks. Who is on which machine follows from the seed.
"""

import contextlib
import errno
import os
import pathlib
import random
import sys
from typing import Iterator, NamedTuple

from findings import Findings, say
from place import INSIDE, Unavailable

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path += [str(TOP / "kernels"), str(TOP / "bench/wan")]
import link  # noqa: E402
import standins  # noqa: E402

MIB = 1 << 20
# MiB of the control group, and of the address space.
GROUP, SPACE = 64, 200
KERNEL = "3.10"
# Round trips in seconds, and the share of lost packets, of a slow network.
TRIPS, LOSS = (0.05, 0.2), 0.01
# One action in this number goes over the slow network. There, timeouts are longer by this factor.
SLOW, PATIENCE = 5, 4


class Machine(NamedTuple):
    """Where a program runs."""

    name: str = "plain"
    # The beginning of its command.
    prefix: tuple[str, ...] = ()


PLAIN = Machine()


class Machines:
    """The machines that this computer can stand in for. The outer program removes their control groups."""

    def __init__(self) -> None:
        self.kinds, self._groups = [Machine("address space", ("prlimit", f"--as={SPACE * MIB}", "--"))], []
        try:
            self._groups = [standins.Group(GROUP * MIB, f"{os.environ.get(INSIDE)}-{side}") for side in ("server", "client")]
        except OSError as error:
            say(f"skipped: {GROUP} MiB of memory: {error}")
        interpreter = standins.python()
        if interpreter:
            code, calls = standins.cases()[f"{KERNEL} {errno.errorcode[errno.ENOSYS]}"]
            self.kinds.append(Machine(f"Linux {KERNEL}", tuple(standins.without(code, calls, interpreter))))
        else:
            say(f"skipped: Linux {KERNEL}: no Python with libseccomp")

    def all(self, side: str) -> list[Machine]:
        """Returns all machines of a side, server or client. A side has its own memory."""
        groups = [Machine(f"{GROUP} MiB", tuple(group.prefix())) for group in self._groups if group.path.endswith(side)]
        return [*groups, *self.kinds]

    def draw(self, chance: random.Random, side: str) -> Machine:
        kinds = self.all(side)
        return chance.choice([PLAIN] * len(kinds) + kinds)

    def check(self, findings: Findings) -> None:
        """Adds a finding if the kernel killed a program because its group was full."""
        for group in self._groups:
            if count := group.killed():
                findings.add(f"the kernel killed {count} programs in {os.path.basename(group.path)} of {GROUP} MiB")


class Near:
    """One network, without a slow one: the server is where its clients are."""

    host, line = "127.0.0.1", None

    @contextlib.contextmanager
    def far(self) -> Iterator[None]:
        """Moves this thread, and the programs that it starts, to the other end of the slow network."""
        raise Unavailable("no slow network")
        yield


class Far(Near):
    """A server's network, in which this thread is, and another one at the end of a slow line."""

    address, host = link.ADDRESSES

    def __init__(self, line: link.Line) -> None:
        self.line = line
        with contextlib.ExitStack() as stack:
            self._link = stack.enter_context(link.Link(line))
            stack.enter_context(self._link.at(link.SERVER))
            self._stack = stack.pop_all()

    def far(self):
        return self._link.at(link.CLIENT)

    def close(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def network(rtt: float) -> Iterator[Near]:
    """Moves this thread to the server's side of a slow network, if this computer can have one."""
    try:
        far = Far(link.Line(rtt=rtt, loss=LOSS))
    except OSError as error:
        say(f"skipped: slow network: {error}")
        yield Near()
        return
    try:
        yield far
    finally:
        far.close()
