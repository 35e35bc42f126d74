"""How growth and the disk are measured, of our server alone: functions as in measures.py."""

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

# Growth: whether a unit costs the same at each of these sizes.
TIMES = (1, 10, 100)
FILE_SYSTEMS_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}


def _grown(costs):
    return {"growth": costs[-1] / costs[0], **{f"×{times}": cost for times, cost in zip(TIMES, costs)}}


def growth_of_sessions(place, kind):
    """Memory for each idle session."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return _grown(measures.memory_of_sessions(place, kind, False, [times * place.sizes.sessions for times in TIMES]))


def growth_of_entries(place, kind):
    """Time for each entry of a listing: as many entries in all at each size."""

    def cost(times):
        entries = times * place.sizes.listed
        return measures.listed(place, kind, "MLSD", entries, 2 * TIMES[-1] // times) / entries * measures.US

    return _grown([cost(times) for times in TIMES])


def growth_of_bytes(operation):
    """Time of the server's processor for each byte of a file: as many bytes in all at each size."""

    def measure(place, kind):
        def cost(name, times):
            words = f"store:up/{name}:{place.root / name}" if operation == "store" else f"{operation}:{name}"
            moved = place.load(place.server(kind), words, times)
            place.uploaded((place.root / name).stat().st_size)
            return moved.per_gib(moved.server)

        return _grown([cost(*size) for size in (("hundredth", 100), ("tenth", 10), ("large", 1))])

    return measure


# The disk: the wait for 226, and a plain write with fdatasync.


@contextlib.contextmanager
def _on_disk():
    """A directory on the file system of the checkout."""
    top = servers.TOP / "target"
    top.mkdir(exist_ok=True)
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(top)], capture_output=True, text=True, check=True)
    if kind.stdout.strip() in FILE_SYSTEMS_IN_MEMORY:
        raise OSError(f"{top} is in memory")
    with tempfile.TemporaryDirectory(dir=top, prefix="peers-") as folder:
        os.chmod(folder, 0o777)
        yield pathlib.Path(folder)


def sync(place, kind):
    """From the last byte of an upload to 226; of a plain write, the time of fdatasync."""
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
