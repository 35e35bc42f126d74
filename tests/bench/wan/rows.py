"""The rows: what is transferred, over which line, and the clients with their command for each row.

To add a row or a client, add an entry here. A client has no command for a row that it cannot do.
"""

import subprocess
from typing import Callable, NamedTuple

import clients
from clients import Job
from link import Line

KIB, MIB = 1 << 10, 1 << 20
FAR, NARROW, LOSSY = Line(rtt=0.2), Line(rate=2e6), Line(loss=0.01)
# Remote names: what is downloaded, and the directory of uploads.
SOURCE, UPLOADS = "tree", "up"


class Row(NamedTuple):
    """A job for a client: get, put, down (a tree), up (a tree) or ls."""

    name: str
    what: str
    job: str
    files: int = 1
    size: int = 4 * KIB
    directories: int = 1
    line: Line = Line()
    # What the target has: nothing, what the client itself has left there ("same"), or files that the source
    # lacks ("extra").
    target: str = ""
    tls: bool = False
    # Further options for our client. Other clients do not take part.
    options: tuple[str, ...] = ()

    @property
    def in_seconds(self) -> bool:
        """Whether bytes and losses cost more than round trips."""
        return self.size >= MIB or self.line.loss > 0 or self.line.rate < Line().rate

    @property
    def is_alone(self) -> bool:
        """Whether the row keeps a processor busy, so that no other run may take place at the same time."""
        return self.size >= MIB and not self.line.loss and self.line.rate >= Line().rate

    @property
    def bytes(self) -> int:
        return 0 if self.job == "ls" or self.target else self.files * self.size


def _trees(name: str, what: str, files: int = 200, **more) -> list[Row]:
    ways = (("down", "download"), ("up", "upload"))
    return [Row(f"{way}{name}", f"{text} {what}", way, files, **more) for way, text in ways]


ROWS = [
    Row("get", "get 4 KiB", "get"),
    Row("put", "put 4 KiB", "put"),
    Row("get-20m", "get 20 MiB", "get", size=20 * MIB),
    Row("put-20m", "put 20 MiB", "put", size=20 * MIB),
    *_trees("", "200 files of 4 KiB"),
    Row("ls", "ls -l of 1,000 files", "ls", 1_000, 0),
    *_trees("-20", "20 files of 4 KiB", 20),
    *_trees("-50-dirs", "1,000 files of 4 KiB in 50 directories", 1_000, directories=50),
    *_trees("-1m", "20 files of 1 MiB", 20, size=MIB),
    *_trees("-same", "200 files that are up to date", target="same"),
    *_trees("-delete", "nothing, and delete 200 files", target="extra"),
    Row("up-new", "upload one file of 4 KiB with a new directory", "up"),
    Row("put-temp", "put --temp -p of 20 files of 4 KiB", "put", 20, options=("--temp", "-p")),
    Row("get-tls", "get 4 KiB under TLS", "get", tls=True),
    Row("put-tls", "put 4 KiB under TLS", "put", tls=True),
    *_trees("-tls", "50 files of 4 KiB under TLS", 50, tls=True),
    Row("get-far", "get 4 KiB, RTT 200 ms", "get", line=FAR),
    Row("put-far", "put 4 KiB, RTT 200 ms", "put", line=FAR),
    *_trees("-far", "200 files of 4 KiB, RTT 200 ms", line=FAR),
    Row("get-20m-far", "get 20 MiB, RTT 200 ms", "get", size=20 * MIB, line=FAR),
    Row("put-20m-far", "put 20 MiB, RTT 200 ms", "put", size=20 * MIB, line=FAR),
    *_trees("-narrow", "200 files of 4 KiB, 2 Mbit/s", line=NARROW),
    Row("get-8m-loss", "get 8 MiB, loss 1 %", "get", size=8 * MIB, line=LOSSY),
    Row("put-8m-loss", "put 8 MiB, loss 1 %", "put", size=8 * MIB, line=LOSSY),
    *_trees("-loss", "200 files of 4 KiB, loss 1 %", line=LOSSY),
]


class Program(NamedTuple):
    """A client with options. `command` returns the words for a job of a row; [] if it cannot do the job."""

    name: str
    command: Callable[[Job, Row], list[str]]


def ours(program: str, *options: str) -> Callable[[Job, Row], list[str]]:
    """Our client. Options for several files are not used for one file, nor others where they change nothing."""

    def command(at: Job, row: Row) -> list[str]:
        single = {"--segments": row.job == "get" and row.size >= MIB, "--pipeline": row.job in ("get", "down")}
        if options and not single.get(options[0], row.job in ("down", "up")):
            return []
        url = f"ftpes{at.url[3:]}" if row.tls else at.url
        more = [*options, *row.options, *(["--insecure"] if row.tls else [])]
        if row.target == "extra":
            more.append("--delete")
        if row.job == "ls":
            return [program, "ls", "-l", *more, f"{url}/"]
        if row.job == "put" and row.files > 1:
            return [program, "put", "-q", *more, *files_of(at.local, row), f"{url}/"]
        here = [url, at.local] if row.job in ("get", "down") else [at.local, url]
        return [program, row.job if row.job in ("get", "put") else "mirror", "-q", *more, *here]

    return command


def files_of(folder: str, row: Row) -> list[str]:
    """Returns the paths of a row's files in a directory. Names of directories and files have four digits."""
    inside = [f"dir-{at % row.directories:04}/" if row.directories > 1 else "" for at in range(row.files)]
    return [f"{folder}/{directory}file-{at:04}" for at, directory in enumerate(inside)]


def _curl(*options: str) -> Callable[[Job, Row], list[str]]:
    def command(at: Job, row: Row) -> list[str]:
        words = ["curl", "-sS", *options, *(["--ssl-reqd", "-k"] if row.tls else [])]
        if row.job in ("get", "put", "ls") and row.files == 1 or row.job == "ls":
            # Options for many files do not change these.
            kind = {"get": ["-o", at.local, at.url], "put": ["-T", at.local, at.url], "ls": [at.url + "/"]}
            return [] if "-Z" in options else [*words, *kind[row.job]]
        if row.target or row.directories > 1:
            return []
        if row.job == "down":
            return [*words, "--create-dirs", "-o", f"{at.local}/file-#1", f"{at.url}/file-[0000-{row.files - 1:04}]"]
        return [*words, "--ftp-create-dirs", "-T", f"{{{','.join(files_of(at.local, row))}}}", f"{at.url}/"]

    return command


def _lftp(at_best: bool) -> Callable[[Job, Row], list[str]]:
    def command(at: Job, row: Row) -> list[str]:
        mirror = "mirror --parallel=4" if at_best else "mirror"
        if row.target == "extra":
            mirror += " --delete"
        script = {
            "get": "get {at.remote} -o {at.local}",
            "put": "put {at.local} -o {at.remote}",
            "down": mirror + " {at.remote} {at.local}",
            "up": mirror + " -R {at.local} {at.remote}",
            "ls": "ls {at.remote}/",
        }[row.job]
        if at_best and row.job == "get" and row.size >= MIB:
            script = "pget -n 4 {at.remote} -o {at.local}"
        tls = "set ftp:ssl-allow yes; set ftp:ssl-force yes; set ssl:verify-certificate no; " if row.tls else ""
        return clients.lftp(tls + ("set ftp:sync-mode no; " if at_best else "") + script)(at)

    return command


def _rclone(transfers: str) -> Callable[[Job, Row], list[str]]:
    def command(at: Job, row: Row) -> list[str]:
        if transfers and row.job not in ("down", "up"):
            return []
        hidden = subprocess.run(["rclone", "obscure", at.password], capture_output=True, text=True, check=True)
        remote = f":ftp,host={at.host},port={at.port},user={at.user},pass={hidden.stdout.strip()}"
        remote += f"{',explicit_tls,no_check_certificate' if row.tls else ''}:{at.remote}"
        if row.job == "ls":
            return ["rclone", "lsl", remote]
        # One try, without waiting and statistics. Our comparisons are by size and time too.
        words = ["rclone", "copyto" if row.job in ("get", "put") else "sync" if row.target == "extra" else "copy"]
        words += ["-q", "--retries=1", *([f"--transfers={transfers}", f"--checkers={transfers}"] if transfers else [])]
        return [*words, *([remote, at.local] if row.job in ("get", "down") else [at.local, remote])]

    return command


def _wget(at: Job, row: Row) -> list[str]:
    if row.tls or row.target == "extra" or row.job not in ("get", "down"):
        return []
    if row.job == "get":
        return ["wget", "-q", "--tries=1", "-O", at.local, at.url]
    newer = ["-N"] if row.target else []
    return [*"wget -q --tries=1 -r -nH --cut-dirs=1".split(), *newer, "-P", at.local, f"{at.url}/"]


def _ncftp(at: Job, row: Row) -> list[str]:
    words = {
        "get": ["ncftpget", "-V", "{at.host}", "{at.folder}", "{at.remote}"],
        "put": ["ncftpput", "-V", "-C", "{at.host}", "{at.local}", "{at.remote}"],
        "down": ["ncftpget", "-V", "-R", "{at.host}", "{at.folder}", "{at.remote}"],
        "up": ["ncftpput", "-V", "-R", "{at.host}", UPLOADS, "{at.local}"],
        "ls": ["ncftpls", "-l", "ftp://{at.host}/{at.remote}/"],
    }[row.job]
    return [] if row.tls or row.target == "extra" else clients.ncftp(*words)(at)


def programs(program: str) -> list[Program]:
    """Returns all clients, ours first, by default and at their best."""
    our_ways = ([], ["-j", "4"], ["-j", "16"], ["--pipeline"], ["--reuse-data"], ["--segments", "4"])
    others = [
        Program("curl", _curl()),
        Program("curl -Z, 4 at once", _curl("-Z", "--parallel-max", "4")),
        Program("lftp", _lftp(False)),
        Program("lftp, async, 4 at once", _lftp(True)),
        Program("rclone, 4 at once", _rclone("")),
        Program("rclone, 8 at once", _rclone("8")),
        Program("NcFTP", _ncftp),
        Program("wget", _wget),
    ]
    return [
        *(Program(" ".join(["ftp-cli", *way]), ours(program, *way)) for way in our_ways),
        *(Program(other.name, _without_options(other.command)) for other in others),
    ]


def _without_options(command: Callable[[Job, Row], list[str]]) -> Callable[[Job, Row], list[str]]:
    """Leaves another client out of rows with options of ours."""
    return lambda at, row: [] if row.options else command(at, row)
