"""Measures growth and the disk, for our server alone. The functions are like those in measures.py."""

import contextlib
import os
import pathlib
import resource
import socket
import subprocess
import tempfile
import time

import measures
import servers

# Growth: the cost of a unit is compared at these multiples of the smallest size.
TIMES = (1, 10, 100)
FILE_SYSTEMS_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}


def _grown(costs):
    return {"growth": costs[-1] / costs[0], **{f"×{times}": cost for times, cost in zip(TIMES, costs)}}


def growth_of_sessions(place, kind):
    """Measures the memory of an idle session."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return _grown(measures.memory_of_sessions(place, kind, False, [times * place.sizes.sessions for times in TIMES]))


def growth_of_entries(place, kind):
    """Measures the time for an entry of a listing. Each size lists the same total number of entries."""

    def cost(times):
        entries = times * place.sizes.listed
        return measures.listed(place, kind, "MLSD", entries, 2 * TIMES[-1] // times) / entries * measures.US

    return _grown([cost(times) for times in TIMES])


def growth_of_bytes(operation):
    """Measures the server's processor time for a byte of a file. Each size moves the same total number of bytes."""

    def measure(place, kind):
        def cost(name, times):
            words = f"store:up/{name}:{place.root / name}" if operation == "store" else f"{operation}:{name}"
            moved = place.load(place.server(kind), words, times)
            place.uploaded((place.root / name).stat().st_size)
            return moved.per_gib(moved.server)

        return _grown([cost(*size) for size in (("hundredth", 100), ("tenth", 10), ("large", 1))])

    return measure


# The disk: the wait for 226, compared with a plain write and fdatasync.


@contextlib.contextmanager
def _on_disk():
    """Creates a directory on the file system of the checkout."""
    top = servers.TOP / "target"
    top.mkdir(exist_ok=True)
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(top)], capture_output=True, text=True, check=True)
    if kind.stdout.strip() in FILE_SYSTEMS_IN_MEMORY:
        raise OSError(f"{top} is in memory")
    with tempfile.TemporaryDirectory(dir=top, prefix="peers-") as folder:
        os.chmod(folder, 0o777)
        yield pathlib.Path(folder)


def sync(place, kind):
    """Measures the time from the last byte of an upload to 226, or the time of fdatasync after a plain write."""
    with _on_disk() as folder:
        wait = _wait_for_226 if measures.is_ours(kind) else _fdatasync
        return {"ms": wait(kind, place.root / "quarter", folder) * measures.MS}


def _wait_for_226(kind, source, folder):
    with servers.Server(kind, folder, tls=False) as server:
        session = server.session()
        session.expect("TYPE I", "200")
        with session.begin("STOR uploaded") as data, open(source, "rb") as file:
            data.sendfile(file)
            data.shutdown(socket.SHUT_WR)
            began = time.perf_counter()
            said = session.reply()
            seconds = time.perf_counter() - began
        session.close()
    if not said.startswith("226") or (folder / "uploaded").stat().st_size != source.stat().st_size:
        raise OSError(f"STOR: {said}")
    return seconds


def _fdatasync(_, source, folder):
    with open(source, "rb") as file, open(folder / "written", "wb", buffering=0) as target:
        while block := file.read(1 << 18):
            target.write(block)
        began = time.perf_counter()
        os.fdatasync(target.fileno())
        return time.perf_counter() - began
