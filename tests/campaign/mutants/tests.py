"""Runs single tests, each in its own process with its own directory for temporary files."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
from typing import Iterator, NamedTuple

import sources

# A fault can make a test take all memory. Some tests set limits too, which these must allow.
LIMITS = ["prlimit", "--as=17179869184:", "--core=0:"]
# Bytes of what a failed test said that are kept.
SHOWN = 600
# Tests that run at a time in one process. Most of them wait.
THREADS = 6


class Test(NamedTuple):
    """A test of a program."""

    program: str
    path: str
    directory: str
    name: str

    @property
    def identifier(self) -> str:
        return f"{self.program}: {self.name}"


class Ran(NamedTuple):
    """How a test ended: `status` is None if it did not."""

    status: int | None
    seconds: float
    said: str


def tests_of(program: dict) -> list[Test]:
    """The tests of a program, except those that are ignored."""

    def names(*words: str) -> list[str]:
        command = [program["path"], "--list", "--format", "terse", *words]
        listed = subprocess.run(command, cwd=program["directory"], check=True, capture_output=True, text=True)
        return [line.removesuffix(": test") for line in listed.stdout.splitlines() if line.endswith(": test")]

    ignored = set(names("--ignored"))
    found = [name for name in names() if name not in ignored]
    return [Test(program["name"], program["path"], program["directory"], name) for name in found]


def run(test: Test, deadline: float, **variables: str) -> Ran:
    """Runs a test alone."""
    ran = _run(test, [test.name], 1, deadline, variables)
    return ran._replace(said=ran.said[-SHOWN:])


def suspects(together: list[Test], deadline: float, **variables: str) -> list[Test]:
    """Runs tests of one program in one process; those that did not pass."""
    ran = _run(together[0], [test.name for test in together], THREADS, deadline, variables)
    if ran.status == 0:
        return []
    passed = {line[5:-7] for line in ran.said.splitlines() if line.startswith("test ") and line.endswith(" ... ok")}
    return [test for test in together if test.name not in passed] or together


def _run(test: Test, names: list[str], threads: int, deadline: float, variables: dict[str, str]) -> Ran:
    """Runs tests of one program, and then ends everything that they started."""
    with _temporary() as temporary, tempfile.TemporaryFile() as said:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FTP_")},
            "CARGO": shutil.which("cargo") or "cargo",
            "CARGO_MANIFEST_DIR": test.directory,
            "TMPDIR": str(temporary),
            "RUST_TEST_THREADS": str(threads),
            **variables,
        }
        began = time.monotonic()
        process = subprocess.Popen(
            [*LIMITS, test.path, "--exact", *names],
            cwd=test.directory, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
        )
        try:
            status = process.wait(deadline)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process, temporary)
        seconds = time.monotonic() - began
        said.seek(0)
        return Ran(status, seconds, said.read().decode(errors="replace"))


@contextlib.contextmanager
def _temporary() -> Iterator[pathlib.Path]:
    """A directory with a short name, since sockets have short names, like that of all users."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="ftp-m-"))
    path.chmod(0o1777)
    try:
        yield path
    finally:
        # Nothing that a test left mounted is emptied.
        for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
            if line.split()[1].startswith(f"{path}/"):
                subprocess.run(["umount", "--lazy", line.split()[1]], stderr=subprocess.DEVNULL)
        shutil.rmtree(path, ignore_errors=True)


def _end(process: subprocess.Popen, temporary: pathlib.Path) -> None:
    """Kills the processes of a test: its group, and those outside that name its directory in environment or arguments."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    mark = str(temporary).encode()
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if any(mark in (entry / name).read_bytes() for name in ("environ", "cmdline")):
                    os.kill(int(entry.name), signal.SIGKILL)


def all_tests(programs: list[dict]) -> list[Test]:
    found = [test for program in programs for test in tests_of(program)]
    sources.say(f"{len(found)} tests in {len(programs)} programs")
    return found
