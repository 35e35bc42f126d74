"""One measurement: a new line, a new server, new files, and one run of a client."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from typing import NamedTuple

import clients
import servers
from link import ADDRESSES, SERVER, Link
from rows import SOURCE, UPLOADS, Program, Row, files_of

# The longest run of a client, in seconds.
LIMIT = 600.0
# The time of all files, which no copy has by chance.
TIME = 1_580_702_706


class Figure(NamedTuple):
    """The seconds of a run, and its round trips, one after another."""

    seconds: float
    round_trips: float


class Files:
    """The files of a row: the served directory, and the client's."""

    def __init__(self, row: Row, path: str) -> None:
        self.row, self.path = row, pathlib.Path(path)
        self.root, self.local = self.path / "root", self.path / "local"
        for folder in (self.path, self.root, self.local, self.root / UPLOADS):
            folder.mkdir(exist_ok=True)
            # Servers run as other users.
            folder.chmod(0o777)
        is_download, is_single = row.job in ("get", "down", "ls"), row.job in ("get", "put") and row.files == 1
        name = f"{SOURCE}/file-0000" if is_single else SOURCE
        top, others = (self.root, self.local) if is_download else (self.local, self.root / UPLOADS)
        self.source, self.target = top / name, others / (name.rpartition("/")[2])
        self.remote = name if is_download else f"{UPLOADS}/{self.target.name}"
        self._make(top / SOURCE)
        if row.job == "put" and not is_single:
            self.target.mkdir(mode=0o777)
            self.target.chmod(0o777)
        if row.target == "extra":
            shutil.copytree(top / SOURCE, self.target)
            for folder, _, _ in os.walk(self.target):
                os.chmod(folder, 0o777)
            # The source keeps one file: an empty source counts as a disk that is not mounted.
            for file in files_of(str(top / SOURCE), row):
                os.unlink(file)

    def _make(self, top: pathlib.Path) -> None:
        block, wanted = os.urandom(self.row.size or 1), files_of(str(top), self.row)
        if self.row.target == "extra":
            wanted.append(str(top / "kept"))
        for at, file in enumerate(wanted):
            os.makedirs(os.path.dirname(file), exist_ok=True)
            turn = at % len(block)
            with open(file, "wb") as stream:
                stream.write((block[turn:] + block[:turn])[: self.row.size])
        for folder, _, names in os.walk(top, topdown=False):
            for name in names:
                os.utime(os.path.join(folder, name), (TIME, TIME))
            os.chmod(folder, 0o777)

    def check(self, output: str) -> None:
        """Fails unless the client did its job."""
        if self.row.job == "ls":
            if output.count("file-") != self.row.files:
                raise OSError(f"{output.count('file-')} entries of {self.row.files}")
            return
        wanted, found = _content(self.source), _content(self.target)
        if wanted != found:
            raise OSError(f"{len(set(wanted.items()) & set(found.items()))} files of {len(wanted)} are right")


def _content(top: pathlib.Path) -> dict[str, bytes]:
    if top.is_file():
        return {"": top.read_bytes()}
    paths = [path for path in top.rglob("*") if path.is_file() and path.name != ".listing"]
    return {str(path.relative_to(top)): path.read_bytes() for path in paths}


def measure(row: Row, kind: servers.Kind, program: Program) -> Figure:
    """Runs a client once. Raises LookupError if it cannot do the job, and OSError if it fails."""
    nowhere = clients.Job(0, "", "", "", "")
    if not program.command(nowhere, row):
        raise LookupError(program.name)
    with contextlib.ExitStack() as stack:
        files = Files(row, stack.enter_context(tempfile.TemporaryDirectory(prefix="wan-", dir="/dev/shm")))
        link = stack.enter_context(Link(row.line))
        with link.at(SERVER):
            server = servers.Server(kind, files.root, row.tls, ADDRESSES[SERVER])
            server.__enter__()
        stack.callback(server.__exit__)
        job = clients.Job(server.port, server.user, server.password, files.remote, str(files.target), server.host)
        if row.job in ("put", "up"):
            job = job._replace(local=str(files.source))
        command = program.command(job, row)
        if row.target == "same":
            clients.run(command, LIMIT)
        link.begin()
        ran = clients.run(command, LIMIT)
        figure = Figure(ran.seconds, link.round_trips())
        files.check(ran.output)
    return figure
