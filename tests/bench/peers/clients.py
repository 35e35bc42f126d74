"""The table of FTP clients, with the command of each client for each job.

To add a client, add an entry to `kinds`. Jobs are `get`, `put`, `mirror` and `ls`; a client has no
entry for a job that it cannot do.
"""

import os
import shutil
import signal
import tempfile
import threading
import time
import urllib.parse
from typing import NamedTuple

import servers

# Maximum seconds of a program.
LIMIT = 30.0


class Job(NamedTuple):
    """A job of a client: a transfer from a path on a server to a local path, or back for `put`."""

    port: int
    user: str
    password: str
    remote: str
    local: str
    host: str = servers.HOST

    @property
    def url(self):
        user, password = (urllib.parse.quote(text, safe="") for text in (self.user, self.password))
        return f"ftp://{user}:{password}@{self.host}:{self.port}/{self.remote}"

    @property
    def folder(self):
        """The directory of the local path: some clients choose the file name themselves."""
        return os.path.dirname(self.local)


class Kind(NamedTuple):
    """A client that may be installed, with a function for each job that turns a Job into the words of a command."""

    name: str
    jobs: dict

    def is_installed(self):
        return bool(self.command("get", Job(0, "", "", "", "")))

    def command(self, name, job):
        """Returns the words of a command; None if the client cannot do the job or is not installed."""
        words = self.jobs[name](job) if name in self.jobs else [""]
        return words if shutil.which(words[0]) else None


def lftp(script):
    settings = "set net:max-retries 1; set cmd:fail-exit yes; set ftp:ssl-allow no; set xfer:log no"
    settings += "; set xfer:clobber yes"

    def words(at):
        login = f'open -u "{at.user},{at.password}" ftp://{at.host}:{at.port}'
        return ["lftp", "-c", f"{settings}; {login}; {script.format(at=at)}"]

    return words


def ncftp(program, *words):
    def command(at):
        login = ["-u", at.user, "-p", at.password, "-P", str(at.port)]
        return [program, *login, *(word.format(at=at) for word in words)]

    return command


def suppaftp(*words):
    program = str(servers.TOP / "tests/bench/target/release/suppaftp")

    def command(at):
        return [program, f"{at.host}:{at.port}", at.user, at.password, *(word.format(at=at) for word in words)]

    return command


def ours(program):
    return {
        "get": lambda at: [program, "get", "-q", at.url, at.local],
        "put": lambda at: [program, "put", "-q", at.local, at.url],
        "mirror": lambda at: [program, "mirror", "-q", at.url, at.local],
        "mirror -j 4": lambda at: [program, "mirror", "-q", "-j", "4", at.url, at.local],
        "mirror --pipeline": lambda at: [program, "mirror", "-q", "--pipeline", at.url, at.local],
        "ls": lambda at: [program, "ls", "-l", at.url + "/"],
    }


def kinds(program):
    """Returns all clients, ours first."""
    curl = {
        "get": lambda at: ["curl", "-sS", "-o", at.local, at.url],
        "put": lambda at: ["curl", "-sS", "-T", at.local, at.url],
        "ls": lambda at: ["curl", "-sS", at.url + "/"],
    }
    wget = {
        "get": lambda at: ["wget", "-q", "--tries=1", "-O", at.local, at.url],
        "mirror": lambda at: [*"wget -q --tries=1 -r -nH --cut-dirs=1 -P".split(), at.local, at.url + "/"],
    }
    tnftp = {
        "get": lambda at: ["tnftp", "-V", "-o", at.local, at.url],
        "put": lambda at: ["tnftp", "-V", "-u", at.url, at.local],
    }
    return [
        Kind("ftp-cli", ours(program)),
        Kind("curl", curl),
        Kind(
            "lftp",
            {
                "get": lftp("get {at.remote} -o {at.local}"),
                "put": lftp("put {at.local} -o {at.remote}"),
                "mirror": lftp("mirror {at.remote} {at.local}"),
                "ls": lftp("ls {at.remote}/"),
            },
        ),
        Kind("wget", wget),
        Kind(
            "NcFTP",
            {
                "get": ncftp("ncftpget", "-V", "{at.host}", "{at.folder}", "{at.remote}"),
                "put": ncftp("ncftpput", "-V", "{at.host}", "up", "{at.local}"),
                "mirror": ncftp("ncftpget", "-V", "-R", "{at.host}", "{at.folder}", "{at.remote}"),
                "ls": ncftp("ncftpls", "-l", "ftp://{at.host}/{at.remote}/"),
            },
        ),
        Kind("tnftp", tnftp),
        Kind(
            "suppaftp",
            {
                "get": suppaftp("get", "{at.remote}", "{at.local}"),
                "put": suppaftp("put", "{at.local}", "{at.remote}"),
                "mirror": suppaftp("mirror", "{at.remote}", "{at.local}"),
                "ls": suppaftp("ls", "{at.remote}"),
            },
        ),
    ]


class Ran(NamedTuple):
    """The output and the cost of a program."""

    output: str
    seconds: float
    # Seconds of the processor, in user mode and in the system, children included.
    processor: float


def run(command, limit=LIMIT):
    """Runs a program to its end. Fails if the program fails or takes longer than the limit.

    Uses posix_spawn, which adds less to the time of a short program than subprocess does.
    """
    environment = {"PATH": os.environ["PATH"], "HOME": "/proc/none", "LC_ALL": "C.UTF-8"}
    with open(os.devnull, "rb") as null, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        files = [(os.POSIX_SPAWN_DUP2, file.fileno(), at) for at, file in enumerate((null, out, errors))]
        began = time.perf_counter()
        process = os.posix_spawnp(command[0], command, environment, file_actions=files)
        watch = threading.Timer(limit, os.kill, (process, signal.SIGKILL))
        watch.start()
        _, status, usage = os.wait4(process, 0)
        seconds = time.perf_counter() - began
        watch.cancel()
        out.seek(0)
        errors.seek(0)
        name, code = os.path.basename(command[0]), os.waitstatus_to_exitcode(status)
        if code == -signal.SIGKILL:
            raise OSError(f"{name}: more than {limit:g} s")
        if code:
            said = errors.read().decode(errors="replace").strip()
            raise OSError(f"{name}: exit {code}: {said[-200:]}")
        return Ran(out.read().decode(errors="replace"), seconds, usage.ru_utime + usage.ru_stime)
