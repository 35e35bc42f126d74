"""Uploads over an old file that are cut, then an act of the world, then the usual resume of each client.

After exit 0 the file must be the client's whole file. After another exit status it must be what was there before: the
old file, or what the act made of it.
"""

import contextlib
import itertools
import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from typing import Callable, Iterator, NamedTuple, Optional

import gateways
import peers
import programs
from clients import Connection, Curl, Order, Ours, Rclone
from findings import Findings, indented, say
from machines import standins
from model import describe
from place import HOST, Place, Unavailable, mount, run
from proxy import Plan, Proxy
from server import FAKETIME

# Lengths of the new file and of the old ones, and the bytes after which an upload is cut.
LENGTH = 120_000
OLD = (15_000, 60_000, LENGTH, 150_000)
CUTS = (0, 1, 30_000, LENGTH - 1)
# Seconds for one run of a client.
LONGEST = 40.0

# The kinds of disks, each with the command that makes one; without one it is in memory. ramfs has no attributes.
DISKS = {
    "ext4": ["mkfs.ext4", "-q", "-F"], "tmpfs": None, "btrfs": ["mkfs.btrfs", "-q"], "exFAT": ["mkfs.exfat"], "ramfs": None,
}  # fmt: skip

FTPLIB = """
import ftplib, sys
from os import environ
port, verb, up, name = sys.argv[1:]
ftp = ftplib.FTP(timeout=12)
ftp.connect("127.0.0.1", int(port)); ftp.login("user", environ["FTP_PASSWORD"]); ftp.voidcmd("TYPE I")
with open(up, "rb") as file:
    if verb == "put":
        ftp.storbinary(f"STOR {name}", file)
    else:
        size = ftp.size(name)
        file.seek(size)
        ftp.storbinary(f"{verb} {name}", file, rest=size if verb == "STOR" else None)
"""
PHP = """
[, $port, $verb, $up, $name] = $argv;
$ftp = ftp_connect("127.0.0.1", (int) $port, 12);
$ok = ftp_login($ftp, "user", getenv("FTP_PASSWORD")) && ftp_pasv($ftp, true);
if ($ok && $verb == "resume") {
    $state = ftp_nb_put($ftp, $name, $up, FTP_BINARY, FTP_AUTORESUME);
    while ($state == FTP_MOREDATA) $state = ftp_nb_continue($ftp);
    $ok = $state == FTP_FINISHED;
} else {
    $ok = $ok && ftp_put($ftp, $name, $up, FTP_BINARY);
}
exit($ok ? 0 : 1);
"""
PERL = """
use Net::FTP;
my ($port, $verb, $up, $name) = @ARGV;
my $ftp = Net::FTP->new("127.0.0.1", Port => $port, Timeout => 12, Passive => 1) or exit 1;
$ftp->login("user", $ENV{FTP_PASSWORD}) && $ftp->binary or exit 1;
open my $file, "<:raw", $up or exit 1;
if ($verb ne "put") {
    my $size = $ftp->size($name);
    defined $size or exit 1;
    sysseek $file, $size, 0;
    $ftp->restart($size) if $verb eq "restart";
    exit($ftp->append($file, $name) ? 0 : 1) if $verb eq "append";
}
exit($ftp->put($file, $name) ? 0 : 1);
"""
NODE = """
const [port, verb, up, name] = process.argv.slice(1);
const client = new (require("basic-ftp").Client)(12000);
(async () => {
    await client.access({ host: "127.0.0.1", port: +port, user: "user", password: process.env.FTP_PASSWORD });
    if (verb == "put") await client.uploadFrom(up, name);
    else await client.appendFrom(up, name, { localStart: await client.size(name) });
    client.close();
})().catch(() => process.exit(1));
"""


class Run(NamedTuple):
    """Where a client finds the server, its own file, and the name of that file on the server."""

    port: int
    password: str
    up: str
    path: str

    def order(self, client, verb: str) -> tuple[list[str], dict[str, str]]:
        """Returns a command line of a client of a soak, without additions for the network."""
        connection = Connection(HOST, "user", self.password, port=self.port)
        return client.command(connection, Order(verb, f"/{self.path}", local=self.up))


# A client's command for an upload, with `again` for the second time; None: the first one tries again by itself.
Make = Callable[[Run, bool], Optional[tuple[list[str], dict[str, str]]]]


def script(*begin: str, resume: str) -> Make:
    """Returns the commands of a client that is a program of its language."""

    def make(run: Run, again: bool):
        words = [*begin, str(run.port), resume if again else "put", run.up, run.path]
        return words, {"FTP_PASSWORD": run.password}

    return make


def lftp(retries: int) -> Make:
    def make(run: Run, again: bool):
        if again and retries > 1:
            return None
        settings = f"net:max-retries {retries}; set net:persist-retries 0; set net:reconnect-interval-base 1; set net:timeout 12; set cmd:fail-exit yes"
        put = f"set {settings}; set ftp:ssl-allow no; set xfer:clobber yes; put {'-c' if again else ''} {run.up} -o {run.path}"
        login = ["-u", f"user,{run.password}", "-p", str(run.port)]
        return ["lftp", "--norc", *login, "-e", f"{put}; bye", HOST], {}

    return make


def ncftp(run: Run, again: bool):
    login = ["-u", "user", "-p", run.password, "-P", str(run.port), "-r", "1", "-t", "12"]
    return ["ncftpput", "-z" if again else "-Z", *login, HOST, os.path.dirname(run.path) or "/", run.up], {}


def wput(tries: int) -> Make:
    def make(run: Run, again: bool):
        if again and tries > 1:
            return None
        # By itself, it would resume at the length of the old file.
        options = [] if again else ["-nc", "-u"]
        url = f"ftp://user:{run.password}@{HOST}:{run.port}/{run.path}"
        return ["wput", "-nv", "-B", "--disable-tls", *options, "-t", str(tries), "--waitretry=1", run.up, url], {}

    return make


def ours(program: str, *options: str) -> Make:
    def make(run: Run, again: bool):
        if again and options:
            return None
        words, environment = run.order(Ours(program), "continue" if again else "put")
        return [*words, *options], environment

    return make


def clients(program: str) -> dict[str, Make]:
    """Returns the installed clients."""
    python, node = peers.servers.python_with("ftplib"), ("node", "-e", NODE, "--")
    known: dict[str, tuple[str, Make]] = {
        "curl -C -": ("curl", lambda run, again: run.order(Curl(), "continue" if again else "put")),
        "lftp put -c": ("lftp", lftp(1)),
        "lftp's own retry": ("lftp", lftp(5)),
        "ncftpput -z": ("ncftpput", ncftp),
        "wput": ("wput", wput(1)),
        "wput's own retry": ("wput", wput(4)),
        "ftplib REST": ("python3", script(python, "-c", FTPLIB, resume="STOR")),
        "ftplib APPE": ("python3", script(python, "-c", FTPLIB, resume="APPE")),
        "PHP": ("php", script("php", "-r", PHP, "--", resume="resume")),
        "Net::FTP restart": ("perl", script("perl", "-e", PERL, resume="restart")),
        "Net::FTP append": ("perl", script("perl", "-e", PERL, resume="append")),
        "basic-ftp": ("node", script(*node, resume="append")),
        "rclone": ("rclone", lambda run, again: run.order(Rclone(), "put")),
        "put -c": (program, ours(program)),
        "put --retry": (program, ours(program, "--retry", "5", "--retry-delay", "1")),
    }
    has_node = shutil.which("node") and not subprocess.run([*node[:2], 'require("basic-ftp")'], capture_output=True).returncode
    return {name: make for name, (needs, make) in known.items() if shutil.which(needs) and (needs != "node" or has_node)}


class Stand:
    """A server on one kind of disk, with a clock of its own, or a gateway to another one. Its directory is empty at the beginning."""

    def __init__(
        self, program: str, top: pathlib.Path, root: pathlib.Path, remount: Optional[Callable[[], None]], gateway: str
    ) -> None:
        self._clock, self._ahead, self.remount = top / "clock", 0, remount
        self._set_clock()
        variables = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": self._clock}
        variables |= {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        # A confined session cannot read the file with the clock.
        settings = ("security.confine=off", "limits.min_free=0", "limits.ban_after=0", "limits.per_address=0")
        prefix = ("env", *(f"{name}={value}" for name, value in variables.items()))
        self._ends = contextlib.ExitStack()
        self.is_gateway = bool(gateway)
        if gateway:
            [beyond] = [kind for kind in peers.all_servers(program, "secret") if kind.name == gateway]
            other = self._ends.enter_context(peers.Server(beyond, root, tls=False))
            root = other.root
            kind = gateways.front(program, "secret", other, other, prefix)
        else:
            kind = peers.ours(program, "secret", *settings, prefix=prefix)
        self.server = peers.Server(kind, root, tls=False)
        self.root = root

    def _set_clock(self) -> None:
        self._clock.with_suffix(".new").write_text(f"{self._ahead:+d}")
        self._clock.with_suffix(".new").rename(self._clock)

    def later(self, seconds: int) -> None:
        self._ahead += seconds
        self._set_clock()

    def start(self) -> None:
        self.server.__enter__()

    def end(self) -> None:
        self.server.__exit__()
        self._ends.close()

    def kill(self) -> None:
        self.server.process.kill()
        self.server.process.wait()
        for left in pathlib.Path("/dev/shm").glob(f"*faketime_*_{self.server.process.pid}"):
            left.unlink(missing_ok=True)

    def await_end(self, path: str) -> None:
        """Waits until the server has noticed that the client is gone."""
        with contextlib.closing(self.server.session()) as session:
            session.say("TYPE I")
            end = time.monotonic() + 15
            while session.say(f"SIZE {path}").startswith("450") and time.monotonic() < end:
                time.sleep(0.02)


class Scene(NamedTuple):
    """What an act can change: the server, the target, and random contents."""

    stand: Stand
    target: pathlib.Path
    random: random.Random

    def replace(self, content: bytes) -> None:
        other = self.target.with_name("other")
        other.write_bytes(content)
        other.rename(self.target)


def killed(scene: Scene) -> None:
    scene.stand.start()


def remounted(scene: Scene) -> None:
    scene.stand.kill()
    scene.stand.remount()
    scene.stand.start()


def given_a_time(scene: Scene) -> None:
    with contextlib.closing(scene.stand.server.session()) as session:
        session.expect(f"MFMT 20200102030405 {scene.target.parent.name}/{scene.target.name}", "213")


def linked(scene: Scene) -> None:
    os.link(scene.target, scene.target.with_name("link"))
    run("cp", "-al", str(scene.target.parent), f"{scene.target.parent}.snapshot")


def given_an_inode(scene: Scene) -> None:
    found = scene.target.stat()
    scene.replace(scene.target.read_bytes())
    os.utime(scene.target, ns=(found.st_atime_ns, found.st_mtime_ns))


def appended(scene: Scene) -> None:
    with open(scene.target, "ab") as file:
        file.write(scene.random.randbytes(7_000))


ACTS: dict[str, Callable[[Scene], None]] = {
    "nothing": lambda scene: None,
    "the server is killed": killed,
    "the disk is mounted again": remounted,
    "MFMT": given_a_time,
    "touch": lambda scene: os.utime(scene.target),
    "links": linked,
    "another inode": given_an_inode,
    "a program appends": appended,
    "a program replaces": lambda scene: scene.replace(scene.random.randbytes(scene.random.choice(OLD))),
    "a program deletes": lambda scene: scene.target.unlink(),
    "15 hours": lambda scene: scene.stand.later(15 * 3_600),
    # As if a clock without a battery had begun in the past. Years would add up to a time that no disk has.
    "100 days": lambda scene: scene.stand.later(100 * 86_400),
}


class Gate(Proxy):
    """Cuts one transfer together with its control connection. Until the act is over, clients wait, or are refused."""

    def __init__(self, port: int, at: int, before: Callable[[], None]) -> None:
        super().__init__(port, Plan("lost control", at, 0, b"STOR"))
        self.opened, self.refuses, self._before = threading.Event(), False, before
        self.opened.set()

    def before_strike(self) -> None:
        self.opened.clear()
        # The server takes what has arrived.
        time.sleep(0.05)
        self._before()

    def connect(self, client, port):
        if self.refuses and not self.opened.is_set():
            near, far = socket.socketpair()
            far.close()
            return self._keep(near)
        self.opened.wait(LONGEST)
        return super().connect(client, port)


def resumed(
    last: programs.Ended, found: Optional[bytes], content: bytes, changed: Optional[bytes], dialogue: list[str], forgets: bool
) -> tuple[str, Optional[str]]:
    """Returns how a resumed upload of `content` ended, and what is wrong. Before it, the file held `changed`. `forgets` is
    whether the server may know nothing of the upload.
    """
    if found == content if last.code == 0 else found in (changed, content):
        return f"exit {last.code and 'other'}", None
    # Documented: such a client believes the size in a listing, and sends nothing.
    said = " ".join(dialogue).rpartition("> PASS")[2]
    if found == changed and len(found or b"") >= len(content) and "> MLST" in said and "> STOR" not in said:
        return "believed a listing", None
    # Documented for gateways.
    if forgets and found == changed and len(found or b"") >= len(content) and "> STOR" not in said and "> APPE" not in said:
        return "believed a size", None
    return "wrong", f"exit {last.code}, {describe(found)}: {last.said[-200:]!r}{indented(dialogue[-32:])}"


def attempt(stand: Stand, make: Make, act: str, at: int, local: pathlib.Path, seed: str) -> tuple[str, Optional[str]]:
    """Runs one case. Returns how it ended, and what is wrong."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=local) as here, tempfile.TemporaryDirectory(dir=stand.root) as there:
        up, target = pathlib.Path(here) / "f", pathlib.Path(there) / "f"
        content, old = chance.randbytes(LENGTH), chance.randbytes(chance.choice(OLD))
        up.write_bytes(content)
        target.write_bytes(old)
        if stand.is_gateway:
            # Some servers become another user.
            target.parent.chmod(0o777)
            target.chmod(0o666)
        os.utime(target, (1_700_000_000,) * 2)
        path = f"{target.parent.name}/f"
        home = {"HOME": here}
        scene = Scene(stand, target, chance)
        with Gate(stand.server.port, at, stand.kill if act == "the server is killed" else lambda: None) as gate:
            order = Run(gate.port, stand.server.password, str(up), path)
            words, environment = make(order, False)
            again = make(order, True)
            gate.refuses = bool(again)
            first: list[programs.Ended] = []
            thread = threading.Thread(
                target=lambda: first.append(programs.run(words, LONGEST, {**home, **environment}, pathlib.Path(here)))
            )
            thread.start()
            while thread.is_alive() and not gate.struck:
                time.sleep(0.01)
            if again:
                thread.join()
            if not gate.struck:
                thread.join()
                return "not cut", f"was not cut: exit {first[0].code}: {first[0].said!r}"
            if act == "the server is killed":
                # The cut may still be on its way to the killed server.
                stand.server.process.wait()
            else:
                stand.await_end(path)
            before = target.read_bytes() if target.exists() else None
            if before != old:
                return "mixed", f"after the cut: {describe(before)}; {gate.dialogue}"
            ACTS[act](scene)
            changed = target.read_bytes() if target.exists() else None
            gate.opened.set()
            thread.join()
            last = programs.run(again[0], LONGEST, {**home, **again[1]}, pathlib.Path(here)) if again else first[0]
            found = target.read_bytes() if target.exists() else None
            shutil.rmtree(f"{target.parent}.snapshot", ignore_errors=True)
            forgets = stand.is_gateway and act == "the server is killed"
            how, problem = resumed(last, found, content, changed, gate.dialogue, forgets)
            return how, problem and f"{len(old)} old bytes, {problem}"


@contextlib.contextmanager
def disks(wanted: list[str]) -> Iterator[Iterator[tuple[str, pathlib.Path, Optional[Callable[[], None]]]]]:
    """Returns the kinds of disks with their roots, and how each is mounted again."""
    with contextlib.ExitStack() as stack:

        def image(name: str, *words: str) -> tuple[str, pathlib.Path, Callable[[], None]]:
            top = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            file, root = top / "disk", top / "root"
            root.mkdir()
            with open(file, "wb") as opened:
                opened.truncate(192 << 20)
            run(*words, str(file))
            kind = {"exFAT": "exfat-fuse"}.get(name, name)
            again = lambda: run("mount", "-t", kind, "-o", "loop", str(file), str(root))
            again()
            stack.callback(subprocess.run, ["umount", str(root)])

            def remount() -> None:
                run("umount", str(root))
                again()

            return name, root, remount

        def memory(name: str) -> tuple[str, pathlib.Path, None]:
            root = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            run("mount", "-t", name, name, str(root))
            stack.callback(subprocess.run, ["umount", str(root)])
            return name, root, None

        def each():
            for name in wanted:
                try:
                    yield image(name, *DISKS[name]) if DISKS[name] else memory(name)
                except (Unavailable, FileNotFoundError) as error:
                    say(f"cuts: skipped: {error}")

        yield each()


class Cuts:
    """A run: all clients, cuts and acts, on each kind of disk."""

    def __init__(self, program: str, here: Place, seed: int, stops: bool, names: list[str], gateway: str) -> None:
        self.program, self.place, self.seed, self.names, self.gateway = program, here, seed, names, gateway
        self.findings = Findings("cuts", stops)

    def some(self, values) -> list:
        """Returns the values that are selected; all if none is."""
        return [value for value in values if str(value) in self.names] or list(values)

    def run(self) -> Findings:
        makes = clients(self.program)
        say(f"cuts: {', '.join(makes)}")
        with disks(["tmpfs"] if self.gateway else self.some(DISKS)) as each:
            for name, root, remount in each:
                self.run_on(name, root, remount, makes)
        total = sum(self.findings.counts.values())
        say(f"cuts: {total} cases: {dict(self.findings.counts)}")
        return self.findings

    def run_on(self, disk: str, root: pathlib.Path, remount: Optional[Callable[[], None]], makes: dict[str, Make]) -> None:
        cases = itertools.product(self.some(makes), self.some(ACTS), self.some(CUTS))
        begin, done = time.monotonic(), 0
        with tempfile.TemporaryDirectory() as top:
            stand = Stand(self.program, pathlib.Path(top), root, remount, self.gateway)
            stand.start()
            try:
                for client, act, at in cases:
                    if self.findings.is_over():
                        return
                    if (act == "the disk is mounted again" and not remount) or (act == "links" and disk == "exFAT"):
                        continue
                    seed = f"{self.seed}/{disk}/{client}/{act}/{at}"
                    how, problem = attempt(stand, makes[client], act, at, self.place.local, seed)
                    done += 1
                    self.findings.count(how)
                    if problem:
                        self.findings.add(f"{disk}, {client}, cut at {at}, {act}: {problem}")
            finally:
                stand.end()
        say(f"cuts: {disk}: {done} cases in {time.monotonic() - begin:.0f} s")
