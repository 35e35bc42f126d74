"""Runs client programs for a limited time, and notes when the whole machine stands still.

A virtual machine can be paused for seconds. After that, all timeouts seem to have passed: programs fail without a
fault, and `subprocess.run` kills programs that have already ended. So a time limit counts only the time during which
the machine ran. The exit status of a program that was running during a pause proves nothing.
"""

import contextlib
import os
import pathlib
import subprocess
import tempfile
import threading
import time
from typing import NamedTuple

# The exit status of a program that was killed at its time limit.
KILLED = 999
# Seconds between two looks at the clock, and the shortest delay of a look that counts as a pause of the machine.
NAP, PAUSE = 0.05, 1.0


class Pause(NamedTuple):
    """A time during which the machine stood still, and its length, which includes time asleep."""

    begin: float
    end: float
    length: float


class Witness:
    """Notes the pauses of the machine: then its own short sleeps take long."""

    def __init__(self) -> None:
        self._pauses: list[Pause] = []
        self._lock = threading.Lock()
        self._last = self._clocks()
        threading.Thread(target=self._watch, daemon=True).start()

    @staticmethod
    def _clocks() -> tuple[float, float]:
        # Only the second clock counts the time of a suspended machine.
        return time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)

    def _look(self) -> None:
        with self._lock:
            now, last = self._clocks(), self._last
            length = max(now[0] - last[0], now[1] - last[1])
            if length >= PAUSE:
                self._pauses.append(Pause(last[0], now[0], length))
            self._last = now

    def _watch(self) -> None:
        while True:
            self._look()
            time.sleep(NAP)

    def paused(self, begin: float) -> float:
        """Returns for how many seconds the machine has stood still since `begin`."""
        # After a pause, the caller can run before the thread does.
        self._look()
        return sum(pause.length for pause in self._pauses if pause.end >= begin)

    def pauses(self) -> list[float]:
        """Returns the lengths of all pauses, in seconds."""
        return [round(pause.length, 1) for pause in self._pauses]


WITNESS = Witness()


class Limit:
    """A time limit that counts only while the machine runs."""

    def __init__(self, seconds: float) -> None:
        self._begin, self._seconds = time.monotonic(), seconds

    def left(self) -> float:
        return self._begin + self._seconds + WITNESS.paused(self._begin) - time.monotonic()

    def is_over(self) -> bool:
        return self.left() <= 0


class Ended(NamedTuple):
    """How a program ended."""

    code: int
    # Standard output, then standard error.
    said: bytes
    seconds: float
    # For how many of these seconds the machine stood still.
    paused: float
    # What the kernel knew about the program when its time was over.
    evidence: str

    @property
    def is_proof(self) -> bool:
        """Returns whether the exit status says something about the program, not about the machine."""
        return self.code == 0 or not self.paused


def wait(process: subprocess.Popen, seconds: float) -> tuple[int, str]:
    """Waits for the end of a program. Returns its exit status, or kills it and returns KILLED and the evidence."""
    limit = Limit(seconds)
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(max(0.0, limit.left())), ""
        if limit.is_over():
            found = evidence(process.pid)
            process.kill()
            process.wait()
            return KILLED, found


def run(
    words: list[str], seconds: float, environment: dict[str, str], directory: pathlib.Path, given: bytes = b""
) -> Ended:
    """Runs a program for a limited time, with a pipe that holds at most 64 KiB as its input."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        reader, writer = os.pipe()
        os.write(writer, given)
        os.close(writer)
        process = subprocess.Popen(
            words, stdin=reader, stdout=out, stderr=err, cwd=directory, env={**os.environ, **environment}
        )
        os.close(reader)
        try:
            code, found = wait(process, seconds)
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        return Ended(code, out.read() + err.read(), time.monotonic() - begin, WITNESS.paused(begin), found)


def evidence(process: int) -> str:
    """Returns what the kernel knows about a process: its state, the system call of each thread, and its files."""
    top = pathlib.Path(f"/proc/{process}")
    lines = [f"load {_text(pathlib.Path('/proc/loadavg'))}; pauses of the machine: {WITNESS.pauses()}"]
    status = _text(top / "status").splitlines()
    lines += [line for line in status if line.startswith(("State", "Threads", "Sig", "Shd"))]
    with contextlib.suppress(OSError):
        for task in sorted((top / "task").iterdir()):
            lines.append(" ".join(f"{name}={_text(task / name)}" for name in ("comm", "wchan", "syscall")))
            lines += _text(task / "stack").splitlines()
    with contextlib.suppress(OSError):
        for descriptor in sorted((top / "fd").iterdir()):
            lines.append(f"fd {descriptor.name} {descriptor.readlink()}")
    # Connections in TIME_WAIT belong to no program.
    lines += [line for line in _text(pathlib.Path("/proc/net/tcp")).splitlines() if line.split()[3:4] != ["06"]]
    return "\n".join(lines)


def _text(path: pathlib.Path) -> str:
    """Returns the text of a file of the kernel, or why it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError as error:
        return f"({error.strerror})"
