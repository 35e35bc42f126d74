"""The environment of a campaign: a separate network, a small disk, certificates, and the workers' addresses."""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Iterator, NoReturn

INSIDE = "FTP_CAMPAIGN_INSIDE"
MEMORY = pathlib.Path("/dev/shm")
# The server, and its address for clients at the other end of a slow network: that of tests/bench/wan.
HOST, FAR_HOST = "127.0.0.1", "10.77.0.2"
# Ports for explicit and for implicit TLS.
CONTROL, IMPLICIT = 2121, 2990
# Size of the server's disk, in MiB.
DISK_MIB = 256
# Number of certificates of one authority. Each change gives the server the next one.
CERTIFICATES = 3

TOP = pathlib.Path(__file__).resolve().parents[2]


class Unavailable(Exception):
    """The machine lacks something that the campaign needs."""


def run(*command: str, **options) -> None:
    """Runs a program that must succeed."""
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if ran.returncode:
        raise Unavailable(f"{' '.join(command)}: exit {ran.returncode}: {(ran.stderr or ran.stdout).strip()}")


def ending_with_us(signal: str) -> list[str]:
    """Returns the beginning of a command line whose program gets this signal when this program ends in any way."""
    return ["setpriv", "--pdeathsig", signal]


def enter() -> None:
    """Runs this program again with its own network, where no port is taken, and its own mounts and processes."""
    if not os.environ.get(INSIDE):
        again()
    run("ip", "link", "set", "lo", "up")
    # Faketime keeps a semaphore there for each process identifier. In this namespace, these begin at 1 again.
    run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(MEMORY))


def again() -> NoReturn:
    """Runs the inner program, and exits with its status. If either ends, the kernel ends all servers and clients."""
    own = ["unshare", "--net", "--mount", "--mount-proc", "--pid", "--fork", "--kill-child"]
    command = [*ending_with_us("KILL"), *own, sys.executable, "-B", *sys.argv]
    with tempfile.TemporaryDirectory(prefix="ftp-campaign-", ignore_cleanup_errors=True) as scratch:
        # Servers run as other users, who must be able to read it.
        os.chmod(scratch, 0o755)
        inner = subprocess.Popen(command, env={**os.environ, INSIDE: str(os.getpid()), "TMPDIR": scratch})
        try:
            status = inner.wait()
        finally:
            inner.kill()
            inner.wait()
            end_groups()
    sys.exit(status if status >= 0 else 2)


def end_groups() -> None:
    """Removes the control groups of the inner program, whose programs have ended."""
    for path in pathlib.Path("/sys/fs/cgroup").glob(f"**/ftp-memory-{os.getpid()}-*"):
        with contextlib.suppress(OSError):
            path.rmdir()


def worker_address(number: int) -> str:
    """Returns the address from which a worker's clients connect. It identifies the worker's sessions."""
    return f"127.0.0.{10 + number}"


class Authority:
    """Issues certificates of the server. A begin is a time of faketime, such as `-20d` or `2030-01-01 00:00:00`."""

    _NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

    def __init__(self, file: pathlib.Path, begin: str, days: int) -> None:
        """Makes the authority's own certificate in `file`, and its key beside it."""
        self.file, self._key = file, file.with_suffix(".key")
        self._names = file.with_suffix(".cnf")
        self._names.write_text(f"subjectAltName=DNS:localhost,IP:{HOST},IP:{FAR_HOST}\n")
        self._openssl(begin, "req", "-x509", *self._NEW, "-days", str(days), "-subj", "/CN=Campaign",
            "-keyout", str(self._key), "-out", str(file))  # fmt: skip

    @staticmethod
    def _openssl(begin: str, *command: str) -> None:
        run("faketime", "-f", begin, "openssl", *command)

    def issue(self, serial: int, certificate: pathlib.Path, key: pathlib.Path, begin: str, days: int) -> None:
        """Writes a new certificate and its key."""
        request = self.file.with_suffix(".csr")
        self._openssl(begin, "req", *self._NEW, "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(request))
        self._openssl(begin, "x509", "-req", "-in", str(request), "-days", str(days), "-CA", str(self.file), "-CAkey",
            str(self._key), "-set_serial", str(serial), "-extfile", str(self._names),
            "-out", str(certificate))  # fmt: skip


def mount(file: pathlib.Path, path: pathlib.Path) -> None:
    """Mounts the ext4 in a file. The loop device ends with the mount, even if this program is killed."""
    ran = subprocess.run(["losetup", "--find", "--show", str(file)], capture_output=True, text=True)
    if ran.returncode:
        raise Unavailable(f"losetup: {ran.stderr.strip()}")
    device = ran.stdout.strip()
    try:
        run("mount", "-t", "ext4", device, str(path))
    finally:
        run("losetup", "--detach", device)


class Place:
    """A directory in memory with the files of a run."""

    def __init__(self) -> None:
        self.path = MEMORY / "campaign"
        self.path.mkdir()
        self.disk = self.path / "disk"
        # The files of the server, and the same as it sees them.
        self.root = self.shown = self.disk / "root"
        self.local = self.path / "local"
        self.disk.mkdir()
        self.local.mkdir()
        # Files in a tmpfs would count as memory of the server, which may have little. Those of this image are ours.
        image = self.path / "image"
        with open(image, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, DISK_MIB << 20)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard", str(image))
        mount(image, self.disk)
        self.root.mkdir()
        self._make_certificates()

    @property
    def log(self) -> pathlib.Path:
        """Returns the path of the server's log, which can become larger than its memory."""
        return pathlib.Path(tempfile.gettempdir()) / "server.log"

    @property
    def authority(self) -> pathlib.Path:
        """Returns the path of the certificate that clients trust."""
        return self.path / "authority.pem"

    def certificate(self, number: int) -> tuple[pathlib.Path, pathlib.Path]:
        """Returns a certificate of the server, and its key."""
        return self.path / f"cert-{number}.pem", self.path / f"key-{number}.pem"

    def _make_certificates(self) -> None:
        # Valid since some days ago, because the server's clock is also set back.
        begin, days = "-20d", 90
        authority = Authority(self.authority, begin, days)
        for number in range(CERTIFICATES):
            authority.issue(number + 1, *self.certificate(number), begin, days)


@contextlib.contextmanager
def full_disk(disk: pathlib.Path, left: int) -> Iterator[None]:
    """Leaves only a few bytes of a disk free."""
    ballast = disk / "ballast"
    space = os.statvfs(disk)
    with open(ballast, "wb") as file:
        with contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(1, space.f_bavail * space.f_frsize - left))
    try:
        yield
    finally:
        ballast.unlink()
