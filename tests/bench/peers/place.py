"""Where a run takes place: files in memory, the servers that were started, how much is measured."""

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
    """How much each measurement does."""

    # Of the large file; other files are a part of it.
    mib: int = 1024
    # Of a rate, over this number of connections.
    seconds: float = 1.0
    # What is short is repeated until this time has passed, in seconds.
    short: float = 0.3
    connections: int = 4
    # Clients at once.
    crowd: int = 200
    # Idle ones.
    idle: int = 200
    # Logins under TLS.
    handshakes: int = 200
    # In the directory that is listed, and in the one that is mirrored.
    entries: int = 10_000
    files: int = 1_000
    # The least of three sizes that grow: each next one is ten times as large.
    sessions: int = 10
    listed: int = 1_000


QUICK = Sizes(
    mib=64, seconds=0.3, short=0.05, crowd=50, idle=30, handshakes=30, entries=1_000, files=200, sessions=2, listed=100
)


class Transfer(NamedTuple):
    """What a run of `load` came to."""

    count: int
    seconds: float
    bytes: int
    # Seconds of the processor.
    client: float
    server: float

    @property
    def speed(self):
        """In MB/s."""
        return self.bytes / self.seconds / 1e6

    def per_gib(self, seconds):
        return seconds * (1 << 30) / self.bytes


class Place:
    """Files that all servers and clients share, and the servers that run."""

    def __init__(self, sizes, against):
        """`against` is the server that clients are measured with."""
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
        """The name of a directory with this number of empty files, made when it is first asked for."""
        if entries not in self._directories:
            self._directories[entries] = f"many-{entries}"
            (self.root / self._directories[entries]).mkdir()
            for at in range(entries):
                (self.root / self._directories[entries] / f"file-{at:06}").touch()
        return self._directories[entries]

    def server(self, kind, tls=False):
        """The running server of a kind, started when it is first asked for."""
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
        """Repeats an operation against a server: N times, or for a time such as "1s"; fails if it takes longer."""
        at_rest, before = len(processes.tree(server.pid)), processes.processor(server.pid)
        words = ["run", str(server.port), server.user, server.password, str(connections), str(times), operation]
        ran = clients.run([str(LOAD), *words], within)
        processes.settle(server.pid, at_rest)
        count, seconds, total = ran.output.split()
        cost = processes.processor(server.pid) - before
        return Transfer(int(count), float(seconds), int(total), ran.processor, cost)

    def remove_uploads(self):
        """Removes what was uploaded, and returns how long each file was."""
        paths = list((self.root / "up").iterdir())
        sizes = [path.stat().st_size for path in paths]
        for path in paths:
            path.unlink()
        return sizes

    def uploaded(self, size):
        """Removes what was uploaded, and returns how many files there were; fails if one is not whole."""
        sizes = self.remove_uploads()
        if set(sizes) - {size}:
            raise OSError(f"uploads of {sorted(set(sizes))} bytes, and not of {size}")
        return len(sizes)

    @contextlib.contextmanager
    def target(self):
        """A path for what a client fetches, which is removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self.local) as folder:
            yield os.path.join(folder, "fetched")
