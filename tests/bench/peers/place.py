"""The environment of a run: files in memory, running servers, and the sizes of measurements."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from typing import NamedTuple

import clients
import processes
import servers

LOAD = servers.TOP / "tests/bench/target/release/load"


class Sizes(NamedTuple):
    """The size of each measurement."""

    # Size of the large file; the sizes of some other files are fractions of it.
    mib: int = 1024
    # Duration of a measured rate.
    seconds: float = 1.0
    # Short operations are repeated until this time has passed, in seconds.
    short: float = 0.3
    # Connections of a measured rate.
    connections: int = 4
    # Clients at once.
    crowd: int = 200
    # Idle sessions.
    idle: int = 200
    # Logins under TLS.
    handshakes: int = 200
    # Files in the directory that is listed, and in the directory that is mirrored.
    entries: int = 10_000
    files: int = 1_000
    # The smallest of three sizes for growth; each of the others is ten times as large as the one before.
    sessions: int = 10
    listed: int = 1_000


QUICK = Sizes(
    mib=64, seconds=0.3, short=0.05, crowd=50, idle=30, handshakes=30, entries=1_000, files=200, sessions=2, listed=100
)


class Transfer(NamedTuple):
    """The result of a run of `load`."""

    count: int
    seconds: float
    bytes: int
    # Seconds of processor time.
    client: float
    server: float

    @property
    def speed(self):
        """The rate in MB/s."""
        return self.bytes / self.seconds / 1e6

    def per_gib(self, seconds):
        return seconds * (1 << 30) / self.bytes


class Place:
    """Files that all servers and clients share, and the servers that run."""

    def __init__(self, sizes, against):
        """`against` is the server that all clients use."""
        self.sizes, self.against = sizes, against
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="ftp-peers-", dir="/dev/shm"))
        self.path.chmod(0o755)
        self.root = self.path / "root"
        self.local = self.path / "local"
        self._running = {}
        self._failed = {}
        self._directories = {}
        self._stack = contextlib.ExitStack()
        self._make_files()

    def _make_files(self):
        block = os.urandom(1 << 20)
        line = b"A line of text that is as long as those of a log often are.\n"
        for folder in ("", "up", "tree", "none"):
            (self.root / folder).mkdir()
        self.local.mkdir()
        (self.root / "up").chmod(0o777)
        text, mib = (line * (len(block) // len(line) + 1))[: len(block)], self.sizes.mib
        for name, content, size in [
            ("large", block, mib << 20),
            ("half", block, mib << 19),
            ("quarter", block, mib << 18),
            ("tenth", block, (mib << 20) // 10),
            ("hundredth", block, (mib << 20) // 100),
            ("text", text, mib << 18),
            ("small", block, 1024),
        ]:
            with open(self.root / name, "wb") as file:
                while (left := size - file.tell()) > 0:
                    file.write(content[:left])
        for at in range(self.sizes.files):
            (self.root / f"tree/file-{at:04}").write_bytes(block[at : at + 1024])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def directory(self, entries):
        """Returns the name of a directory with this number of empty files. The first call creates it."""
        if entries not in self._directories:
            self._directories[entries] = f"many-{entries}"
            (self.root / self._directories[entries]).mkdir()
            for at in range(entries):
                (self.root / self._directories[entries] / f"file-{at:06}").touch()
        return self._directories[entries]

    def server(self, kind, tls=False):
        """Returns the running server of a kind. The first call starts it."""
        key = (kind.name, tls)
        if key in self._failed:
            raise OSError(self._failed[key])
        if key not in self._running:
            try:
                self._running[key] = self._stack.enter_context(servers.Server(kind, self.root, tls))
            except OSError as error:
                self._failed[key] = str(error)
                raise
        return self._running[key]

    def load(self, server, operation, times, connections=1, within=clients.LIMIT):
        """Repeats an operation N times, or for a time such as "1s". Fails if it takes more than `within` seconds."""
        at_rest, before = len(processes.tree(server.pid)), processes.processor(server.pid)
        words = ["run", str(server.port), server.user, server.password, str(connections), str(times), operation]
        ran = clients.run([str(LOAD), *words], within)
        processes.settle(server.pid, at_rest)
        count, seconds, total = ran.output.split()
        cost = processes.processor(server.pid) - before
        return Transfer(int(count), float(seconds), int(total), ran.processor, cost)

    def remove_uploads(self):
        """Removes all uploaded files, and returns their lengths."""
        paths = list((self.root / "up").iterdir())
        sizes = [path.stat().st_size for path in paths]
        for path in paths:
            path.unlink()
        return sizes

    def uploaded(self, size):
        """Removes all uploaded files, and returns their number. Fails if a file is incomplete."""
        sizes = self.remove_uploads()
        if set(sizes) - {size}:
            raise OSError(f"uploads of {sorted(set(sizes))} bytes, and not of {size}")
        return len(sizes)

    @contextlib.contextmanager
    def target(self):
        """Provides a path for a downloaded file, which is removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self.local) as folder:
            yield os.path.join(folder, "fetched")
