"""Our server under test: its configuration, its start and end, and the resources that it holds while idle."""

import collections
import contextlib
import ftplib
import os
import pathlib
import re
import resource
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse
from typing import Callable, NamedTuple, Optional, Sequence

from place import CONTROL, HOST, IMPLICIT, Place, Unavailable

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
# The prefix of the names of unfinished uploads; docs/dev/conformance.md specifies it.
HIDDEN = ".ftp-upload-"
# The prefix of a gateway's unfinished uploads on the other server.
BEYOND = ".ftp-gateway-"
# The prefix of the record that an interrupted upload leaves, beside its bytes.
RECORD = ".ftp-upload-record-"
# The lines of a record with the name of the bytes, and with their number, the time of the cut and the time until which
# they are kept.
BYTES, LEFT = re.compile("^bytes (.*)$", re.M), re.compile(r"^left (\d+) (\d+) (\d+)$", re.M)
# Seconds within which the server must answer after its start, and report a reload.
START_LIMIT = 30.0
RELOAD_LIMIT = 20.0

CONFIGURATION = """
[listen]
addresses = {control}
implicit_tls = {implicit}

[tls]
certificate = "{place}/server.pem"
key = "{place}/server.key"
watch = "0"

[server]
banner = "{banner}"

[timeouts]
login = "15 s"
idle = "10 s"
data_connect = "5 s"
stall = "5 s"
tls_handshake = "8 s"
shutdown_grace = "5 s"

[limits]
per_address = 0
ban_after = 0
min_free = 0

[log]
target = "file:{log}"
"""
USER = """
[users.{name}]
password = "{password}"
root = "{root}"
rights = "full"
partial = "{partial}"
"""


class Record(NamedTuple):
    """What the record of an unfinished upload says: the path of its bytes, their number, and times since 1970."""

    bytes: pathlib.Path
    length: int
    when: int
    until: int


def _open_files(process: int) -> collections.Counter[str]:
    """Counts what the descriptors of a process refer to, without the numbers of sockets."""
    directory, found = pathlib.Path(f"/proc/{process}/fd"), collections.Counter()
    for descriptor in directory.iterdir():
        # The descriptor may have been closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            found[re.sub(r":\[\d+\]$", "", str(descriptor.readlink()))] += 1
    return found


class Figures:
    """The resources that a server without sessions holds."""

    def __init__(self, process: int) -> None:
        self.open = _open_files(process)
        self.descriptors = self.open.total()
        status = pathlib.Path(f"/proc/{process}/status").read_text()
        self.threads = int(re.search(r"^Threads:\s+(\d+)", status, re.M).group(1))
        self.kib = int(re.search(r"^RssAnon:\s+(\d+)", status, re.M).group(1))

    def __str__(self) -> str:
        return f"{self.descriptors} descriptors, {self.threads} threads, {self.kib} KiB"


class Server:
    """The server of a soak. It reads its clock from a file, so that the clock can be set."""

    def __init__(
        self,
        program: str,
        place: Place,
        users: dict[str, str],
        seed: int,
        settings: tuple[str, ...] = (),
        environment: Optional[dict[str, str]] = None,
        prefix: Callable[[], Sequence[str]] = tuple,
        hosts: Sequence[str] = (HOST,),
        root: str = "",
        store: str = "",
    ) -> None:
        """`users` maps each name to the setting for interrupted uploads: resume or discard. `prefix` returns the
        beginning of the command for each start. `root` is in place of the place's directory, and may name a `store`.
        """
        self.program, self.place, self.users, self._prefix = program, place, users, prefix
        self._hosts = dict.fromkeys(hosts)
        self._root, self._store = root or str(place.shown), store
        self._settings, self._environment = settings, environment or {}
        self.passwords = {name: f"secret-{seed}-{secrets.token_hex(6)}" for name in users}
        self.process: Optional[subprocess.Popen] = None
        self.starts, self.deaths = 0, []
        self._hashes = {name: hashed(password) for name, password in self.passwords.items()}
        self.clock = place.path / "clock"
        self.set_clock(0)
        self.set_certificate(0)
        self.configure("Service ready")

    @property
    def log(self) -> pathlib.Path:
        return self.place.log

    def configure(self, banner: str, extra: str = "") -> None:
        """Writes the configuration; a reload reads it."""
        text = CONFIGURATION.format(
            control=[f"{host}:{CONTROL}" for host in self._hosts], implicit=[f"{host}:{IMPLICIT}" for host in self._hosts],
            place=self.place.path, log=self.log, banner=banner
        )
        for name, partial in self.users.items():
            text += USER.format(name=name, password=self._hashes[name], root=self._root, partial=partial)
        written = self.place.path / "server.toml.new"
        written.write_text(text + self._store + extra)
        written.rename(self.place.path / "server.toml")

    def set_clock(self, seconds: float) -> None:
        """Sets the server's clock to this number of seconds after the real time."""
        written = self.clock.with_suffix(".new")
        written.write_text(f"{seconds:+.3f}")
        written.rename(self.clock)

    def faketime(self) -> dict[str, str]:
        """Returns the variables that give a program the server's clock."""
        return {
            "LD_PRELOAD": FAKETIME,
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set_certificate(self, number: int, key: Optional[int] = None) -> None:
        """Installs a certificate of the place, then its key, or instead the key of certificate number `key`."""
        certificate, own = self.place.certificate(number)
        self.install(certificate, own if key is None else self.place.certificate(key)[1])

    def install(self, certificate: pathlib.Path, key: pathlib.Path) -> None:
        """Installs a certificate, then its key."""
        for found, name in ((certificate, "server.pem"), (key, "server.key")):
            written = self.place.path / f"{name}.new"
            shutil.copyfile(found, written)
            written.rename(self.place.path / name)

    def start(self) -> None:
        # The prefix itself has the machine's clock: faketime starts only one program of each process identifier.
        variables = [f"{name}={value}" for name, value in {**self.faketime(), **self._environment}.items()]
        command = [*self._prefix(), "env", *variables, self.program, "serve", "-v"]
        command += ["--config", str(self.place.path / "server.toml")]
        for setting in self._settings:
            command += ["--set", setting]
        with open(self.place.path / "server.stderr", "ab") as file:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        self.starts += 1
        end = time.monotonic() + START_LIMIT
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                said = (self.place.path / "server.stderr").read_text(errors="replace")
                raise Unavailable(f"the server does not start: {said[-2000:]}")
            time.sleep(0.02)

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            with socket.create_connection((HOST, CONTROL), timeout=2) as connection:
                return connection.recv(3) == b"220"
        return False

    def logged(self, user: str, begin: int) -> list[str]:
        """Returns the lines of the log about a user since it had `begin` bytes."""
        with open(self.log, "rb") as file:
            file.seek(begin)
            return [line for line in file.read().decode(errors="replace").splitlines() if f'user="{user}"' in line]

    def reload(self) -> str:
        """Reloads the configuration. Returns the word in the log about that: reloaded, unchanged or nothing."""
        # A log that was renamed is created again.
        begin, end = self.log.stat().st_size if self.log.exists() else 0, time.monotonic() + RELOAD_LIMIT
        self.process.send_signal(signal.SIGHUP)
        while time.monotonic() < end:
            said = self.log.exists() and re.search(rb"configuration (reloaded|unchanged)", self.log.read_bytes()[begin:])
            if said:
                return said[1].decode()
            time.sleep(0.02)
        return "nothing"

    def greeting(self) -> str:
        """Returns the first line of the server's greeting."""
        with socket.create_connection((HOST, CONTROL), timeout=10) as connection:
            return connection.makefile("rb").readline().decode().strip()

    def touch(self) -> None:
        """Connects to each listener, and closes the connection at once."""
        for host in self._hosts:
            for port in (CONTROL, IMPLICIT):
                socket.create_connection((host.strip("[]"), port), timeout=10).close()

    def log_in(self, user: str) -> None:
        """Opens a session and ends it."""
        with ftplib.FTP(timeout=10) as session:
            session.connect(HOST, CONTROL)
            session.login(user, self.passwords[user])

    def serial(self) -> int:
        """Returns the serial number of the certificate that the server shows."""
        context = ssl.create_default_context(cafile=str(self.place.authority))
        with socket.create_connection((HOST, IMPLICIT), timeout=10) as connection:
            with context.wrap_socket(connection, server_hostname="localhost") as secure:
                return int(secure.getpeercert()["serialNumber"], 16)

    def crash(self) -> None:
        """Kills the server and starts it again."""
        self._kill()
        self.start()

    def _kill(self) -> None:
        self.process.kill()
        self.process.wait()
        # `faketime` does not start a program if an earlier one left a file with the same process identifier.
        for left in pathlib.Path("/dev/shm").glob(f"*faketime_*_{self.process.pid}"):
            left.unlink(missing_ok=True)

    def stop(self) -> Optional[int]:
        """Ends the server in order. Returns its exit status; None if it had to be killed."""
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self._kill()
            return None

    @contextlib.contextmanager
    def few_descriptors(self, more: int):
        """Lets the server open only this many more descriptors."""
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        now = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        before = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (now + more, hard))
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, before)

    def figures(self) -> Figures:
        return Figures(self.process.pid)

    def hidden(self) -> list[pathlib.Path]:
        """Returns the paths of the records and bytes of unfinished uploads on the disk."""
        return [path for path in self.place.root.rglob(f"{HIDDEN}*")]

    def bytes_left(self) -> list[pathlib.Path]:
        """Returns the paths of the bytes of unfinished uploads on the disk."""
        return [path for path in self.hidden() if not path.name.startswith(RECORD)]

    def records(self) -> list[Record]:
        """Returns the records of unfinished uploads on the disk, without those that have no text."""
        return [record for path in self.hidden() if path.name.startswith(RECORD) and (record := recorded(path))]


def recorded(path: pathlib.Path) -> Optional[Record]:
    """Returns what a record says; `None` if it has no text, or was removed."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return None
    named, left = BYTES.search(text), LEFT.search(text)
    if not (named and left):
        return None
    return Record(path.with_name(urllib.parse.unquote(named[1])), *map(int, left.groups()))


def hashed(password: str) -> str:
    """Returns the hash of a password for a configuration."""
    command = ["openssl", "passwd", "-5", "-salt", "campaign", "-stdin"]
    return subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout.strip()


def sessions(address: str) -> int:
    """Returns the number of servers' sockets that are connected to an address, from the kernel's table."""
    octets = bytes(map(int, address.split(".")))
    theirs, count = f"{int.from_bytes(octets, 'little'):08X}:", 0
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        # Neither in TIME_WAIT, nor already released by its process.
        is_held = fields[3] != "06" and fields[9] != "0"
        count += fields[2].startswith(theirs) and not fields[1].startswith(theirs) and is_held
    return count
