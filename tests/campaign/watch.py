"""The watch: random use of our client with every server, and of every client with our server.

All connections go through a proxy that breaks some transfers. What a program reports is then compared with
the files of both sides. After exit 0 the target file must be complete; after a failure it must be the old or the
new file. No program may wait longer than its timeouts, and no output may contain the password.
"""

import contextlib
import itertools
import os
import pathlib
import random
import secrets
import shutil
import time
from typing import Callable, Iterator, Optional

import machines
import peers
import programs
import promises
from clients import Command, Connection, Curl, Ftplib, Lftp, Order, Rclone
from findings import Findings, say
from model import Content, describe
from outcomes import Ran, is_second_try, judge_peer, mirrored, wrong
from place import HOST, Place
from proxy import KINDS, Plan, Proxy
from server import HIDDEN

NAMES = ("a", "b.bin", "with space", ".dot")
SIZES = (0, 1, 1_000, 65_536, 200_001, 600_000)
# Timeouts of our client, in seconds: short, so that runs reach each of them.
TIMEOUTS = {"connect": 3, "reply": 3, "stall": 3, "final": 4}
# Maximum seconds of our client: twice the longest sum of timeouts, for a busy machine. And of other clients.
LONGEST, LONGEST_OF_OTHERS = 60.0, 120.0
VERBS = ("get", "resume", "put", "continue", "list", "rename", "delete", "mirror down", "mirror up")
PEER_VERBS = ("get", "put", "rename", "delete")
# Where the command of our client has the proxy's address.
PLACE = "{place}"
# Maximum minutes until all servers start again.
MINUTES = 6
# Minimum number of turns of each server.
TURNS = 3
# The files of a mirrored tree.
TREE = ("one", "two.bin", ".three", "sub/four", "sub/.five")
# Seconds within which a server must notice the end of its client.
SETTLED = 20.0
# Exit codes that no fault excuses: internal error and usage.
NEVER = (1, 2)


def put(path: pathlib.Path, content: Content) -> None:
    """Writes a file that every server may read and replace."""
    path.unlink(missing_ok=True)
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o666)


def sessions(port: int) -> list[str]:
    """Returns the connections that a server still holds at its port, as the kernel shows them."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    # Neither listening nor in TIME_WAIT, and held by a program.
    return [
        line.strip() for line, one in zip(lines, fields)
        if one[1].endswith(f":{port:04X}") and one[3] not in ("0A", "06") and one[9] != "0"
    ]  # fmt: skip


def held(path: pathlib.Path) -> Content:
    return path.read_bytes() if path.is_file() else None


def tree(top: pathlib.Path) -> dict[str, bytes]:
    """Returns the files below a directory, without partial files that our client or server keeps."""
    paths = [path for path in top.rglob("*") if path.is_file() and not path.name.endswith(".part")]
    paths = [path for path in paths if not path.name.startswith(HIDDEN)]
    return {str(path.relative_to(top)): path.read_bytes() for path in paths}


class Eyes:
    """Watches one program with one server."""

    def __init__(
        self, watch: "Watch", kind: peers.Kind, server: peers.Server, network: machines.Near, server_on: machines.Machine
    ) -> None:
        self.watch, self.kind, self.server, self.random = watch, kind, server, watch.random
        # The port of the last proxy.
        self.port = 0
        self.network, self.is_slow, self.machine, self.server_on = network, False, machines.PLAIN, server_on
        self.up = server.root / "up"
        self.up.mkdir(exist_ok=True)
        self.up.chmod(0o777)
        self.local = watch.place.local
        self.mirrored = watch.place.local / "mirrored"

    # Running programs.

    def run(self, plan: Plan, is_ours: bool, command: Callable[[Proxy], Command], port: int = 0) -> Ran:
        """Runs a client, whose command depends on the proxy. The slow network is between the client and our server, but
        on that side of the proxy where our program is.
        """
        at, longest = self.server.host, LONGEST if is_ours else LONGEST_OF_OTHERS
        with contextlib.ExitStack() as stack:
            if self.is_slow and not is_ours:
                stack.enter_context(self.network.far())
            host = at if self.is_slow and is_ours else HOST
            proxy = stack.enter_context(Proxy(self.server.port, plan, at=at, host=host, own=port))
            self.port = proxy.port
            if self.is_slow and is_ours:
                stack.enter_context(self.network.far())
            longest *= machines.PATIENCE if self.is_slow else 1
            words, environment = command(proxy)
            environment = {"HOME": str(self.watch.home), **environment}
            ended = programs.run(words, longest, environment, self.local)
            if ended.paused:
                self.watch.findings.count("run during a pause")
            seen = (list(proxy.dialogue), proxy.uploads, proxy.confirmed)
            return Ran(ended, proxy.struck, *seen)

    def words(self, *words: str) -> list[str]:
        """Returns a command line of our client."""
        times = machines.PATIENCE if self.is_slow else 1
        limits = [word for name, seconds in TIMEOUTS.items() for word in (f"--{name}-timeout", str(seconds * times))]
        login = ["-u", self.server.user, "--no-netrc"]
        return [*self.machine.prefix, self.watch.program, words[0], *login, *limits, *words[1:]]

    def url(self, name: str) -> str:
        # Paths are relative to the login directory, because some servers show the whole disk.
        return f"ftp://{PLACE}/up/" + name.replace(" ", "%20")

    def plan(self, verb: bytes = b"", turns: int = 1) -> Plan:
        if self.random.random() < 0.4:
            return Plan()
        at = self.random.choice([0, 1, self.random.randint(0, 650_000), self.random.randint(0, 70_000)])
        return Plan(self.random.choice(KINDS), at, self.random.randrange(turns), verb)

    def content(self) -> bytes:
        return self.random.randbytes(self.random.choice(SIZES))

    def report(self, what: str, ran: Ran, problems: list[str]) -> None:
        """Adds a finding if there are problems. Counts a failure for which only a pause of the machine is a reason."""
        if problems:
            self.watch.findings.add(f"{what}: {'; '.join(problems)}{ran.shown()}")
        elif ran.code and not ran.struck:
            why = f"the machine stood still for {ran.ended.paused:.1f} s"
            self.watch.findings.excuse("pause", f"{what}: {why}{ran.shown()}")

    def judge(self, title: str, ran: Ran, problems: list[Optional[str]]) -> None:
        """Adds the checks that apply to every run of our client, and reports problems."""
        found = [problem for problem in problems if problem]
        if ran.code == programs.KILLED:
            found.append(f"still ran after {LONGEST:.0f} s")
        if ran.code in NEVER:
            found.append("this exit code must never be seen")
        if ran.code and not ran.struck and not ran.ended.paused:
            found.append("failed without a reason")
        if self.server.password.encode() in ran.said and len(self.server.password) > 8:
            found.append("said the password")
        self.watch.findings.count(title.split(" '")[0], self.kind.name, "done" if ran.code == 0 else "failed")
        if ran.struck:
            self.watch.findings.count(ran.struck.kind)
        where = f"{self.kind.name}, {self.where()}"
        what = f"{title} with {where}, {ran.struck}, exit {ran.code} after {ran.ended.seconds:.1f} s"
        self.report(what, ran, found)

    def draw(self) -> None:
        """Draws whether the next action goes over the slow network."""
        self.is_slow = self.network.line is not None and self.random.randrange(machines.SLOW) == 0
        if self.is_slow:
            self.watch.findings.count(f"over {self.network.line.rtt * 1e3:.0f} ms")

    def where(self) -> str:
        way = f"over {self.network.line}" if self.is_slow else "here"
        return f"client on {self.machine.name} {way}, server on {self.server_on.name}"

    # Our client.

    def act(self) -> None:
        """Carries out one action with our client."""
        self.draw()
        self.machine = self.watch.machines.draw(self.random, "client")
        self.watch.findings.count(f"client on {self.machine.name}")
        verb = self.random.choice(VERBS)
        getattr(self, "_" + verb.replace(" ", "_"))()

    def ours(self, words: list[str], plan: Plan, port: int = 0) -> Ran:
        environment = {"FTP_PASSWORD": self.server.password}
        return self.run(
            plan, True,
            lambda proxy: Command([word.replace(PLACE, f"{proxy.host}:{proxy.port}") for word in words], environment),
            port,
        )

    def _get(self) -> None:
        name, content = self.random.choice(NAMES), self.content()
        put(self.up / name, content)
        target, old = self.local / "down", self.random.choice([None, b"old"])
        put(target, old)
        retry = self.random.choice([[], ["--retry", "2", "--retry-delay", "100ms"]])
        ran = self.ours(self.words("get", *retry, self.url(name), str(target)), self.plan())
        wanted = [content] if ran.code == 0 else [old, content]
        self.judge(f"get '{name}'", ran, [wrong("local file", held(target), wanted), self.left("down")])

    def _resume(self) -> None:
        """Tests a download that breaks, and a second try after the file may have changed."""
        name, content, target = self.random.choice(NAMES), self.content(), self.local / "down"
        put(self.up / name, content)
        put(target, None)
        words = self.words("get", "-c", self.url(name), str(target))
        first = self.ours(words, self.plan(b"RETR"))
        wanted = [content] if first.code == 0 else [None, content]
        self.judge(f"get -c '{name}'", first, [wrong("local file", held(target), wanted)])
        if self.random.random() < 0.5 and held(target) is None:
            # Another file of the same length, at least a second later: some servers report times in seconds.
            content = self.random.randbytes(len(content))
            put(self.up / name, content)
            later = time.time() + 5
            os.utime(self.up / name, (later, later))
        second = self.ours(words, Plan(), self.port)
        wanted = [content] if second.ended.is_proof else [None, content]
        self.judge(f"get -c again '{name}'", second, [wrong("local file", held(target), wanted)])
        put(self.local / "down.part", None)

    def _put(self, *options: str) -> None:
        name, new = self.random.choice(NAMES), self.content()
        old = self.random.choice([None, self.content()])
        put(self.up / name, old)
        put(self.local / "up", new)
        ran = self.ours(self.words("put", *options, str(self.local / "up"), self.url(name)), self.plan(b"STOR"))
        self.judge_upload(f"put '{name}'", ran, name, old, new)

    def judge_upload(self, title: str, ran: Ran, name: str, old: Content, new: bytes) -> None:
        """Checks that the file is complete after exit 0. After a failure, our server must have the old or new file."""
        problem = None
        if ran.code == 0:
            problem = wrong("remote file", held(self.up / name), [new])
        elif self.kind.name == "ours" and (not ran.struck or ran.struck.kind not in ("swallow", "error")):
            # Without TLS, no server can detect that the network dropped the end.
            problem = self.settle() or wrong("remote file", held(self.up / name), [old, new])
        self.judge(title, ran, [self.unlike_confirmed(ran, name) or problem])

    def settle(self) -> Optional[str]:
        """Waits until the server has ended all sessions. Returns what is wrong if it does not."""
        limit = programs.Limit(SETTLED)
        while held_on := sessions(self.server.port):
            if limit.is_over():
                return f"sessions of the server are left after {SETTLED:.0f} s: {held_on}"
            time.sleep(0.01)
        return None

    def _continue(self) -> None:
        """Tests an upload that breaks and is resumed."""
        name, new = self.random.choice(NAMES), self.content()
        put(self.up / name, None)
        put(self.local / "up", new)
        words = self.words("put", "-c", str(self.local / "up"), self.url(name))
        first = self.ours(words, self.plan(b"STOR"))
        self.judge_upload(f"put -c '{name}'", first, name, None, new)
        self.settle()
        second = self.ours(words + ["--retry", "3", "--retry-delay", "1"], Plan(), self.port)
        done = second.code == 0
        if not done:
            # Kept for the next try, which nobody makes here.
            for journal in self.local.glob(".*.ftp-cli-upload"):
                journal.unlink()
        problem = self.left("down") or (wrong("remote file", held(self.up / name), [new]) if done else None)
        # Our client may refuse to resume a part that is not provably of this file.
        paused = first.ended.paused + second.ended.paused
        second = second._replace(struck=second.struck or first.struck, ended=second.ended._replace(paused=paused))
        self.judge(f"put -c again '{name}'", second, [self.unlike_confirmed(second, name) or problem])

    def fill(self) -> None:
        for path in list(self.up.iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def make_tree(self) -> None:
        """Creates the directories of a mirror, writable for every server."""
        (self.up / "tree/sub").mkdir(parents=True)
        for path in (self.up / "tree", self.up / "tree/sub"):
            path.chmod(0o777)

    def _list(self) -> None:
        self.fill()
        names = [f"{name}-{number}" for number in range(self.random.choice([0, 3, 400])) for name in NAMES]
        for name in names:
            put(self.up / name, b"x")
        plan = self.plan()
        ran = self.ours(self.words("ls", "-a", "--raw-names", self.url("")), plan)
        found, problem = ran.said.decode(errors="replace").splitlines(), None
        # A listing that ends in order with 226 looks complete to every client.
        is_lie = ran.struck and ran.struck.kind == "swallow"
        if ran.code == 0 and not is_lie and sorted(found) != sorted(names):
            problem = f"listed {len(found)} of {len(names)} names: {sorted(set(names) ^ set(found))[:4]}"
        self.judge("ls ''", ran, [problem])
        self.fill()

    def _rename(self) -> None:
        name, to, content = *self.random.sample(NAMES, 2), self.content()
        put(self.up / name, content)
        put(self.up / to, None)
        ran = self.ours(self.words("mv", self.url(name), f"up/{to}"), Plan())
        state, wanted = (held(self.up / name), held(self.up / to)), [(None, content)]
        if not ran.ended.is_proof:
            wanted.append((content, None))
        problem = None if state in wanted else f"{describe(state[0])}, {describe(state[1])}"
        self.judge(f"mv '{name}'", ran, [problem])

    def _delete(self) -> None:
        name, content = self.random.choice(NAMES), self.content()
        put(self.up / name, content)
        ran = self.ours(self.words("rm", self.url(name)), Plan())
        wanted = [None] if ran.ended.is_proof else [None, content]
        self.judge(f"rm '{name}'", ran, [wrong("remote file", held(self.up / name), wanted)])

    def _mirror_down(self) -> None:
        self.fill()
        shutil.rmtree(self.mirrored, ignore_errors=True)
        there = {name: self.content() for name in TREE}
        old = {name: b"old" for name in TREE[:3]}
        self.make_tree()
        for name, content in there.items():
            put(self.up / "tree" / name, content)
        for name, content in old.items():
            put(self.mirrored / name, content)
        plan = self.plan(turns=6)
        ran = self.ours(self.words("mirror", "--listing", "list", self.url("tree"), str(self.mirrored)), plan)
        self.judge("mirror down ''", ran, [mirrored(tree(self.mirrored), there, old, ran)])
        self.fill()

    def _mirror_up(self) -> None:
        self.fill()
        shutil.rmtree(self.mirrored, ignore_errors=True)
        self.make_tree()
        here = {name: self.content() for name in TREE}
        for name, content in here.items():
            put(self.mirrored / name, content)
        ran = self.ours(self.words("mirror", str(self.mirrored), self.url("tree")), self.plan(b"STOR", turns=5))
        there = tree(self.up / "tree")
        problem = mirrored(there, here, {}, ran) if ran.code == 0 or self.kind.name == "ours" else None
        if ran.struck and ran.struck.kind in ("swallow", "error") and ran.code:
            problem = None
        self.judge("mirror up ''", ran, [problem])
        self.fill()

    def left(self, *names: str) -> Optional[str]:
        """Returns what a client left in addition to its files."""
        left = [path.name for path in self.local.iterdir() if path.is_file() and path.name not in ("up", *names)]
        for name in left:
            (self.local / name).unlink()
        return f"left {left}" if left else None

    # Other clients.

    def act_as(self, client) -> None:
        """Lets another client carry out one action with our server."""
        self.draw()
        verb, name = self.random.choice(PEER_VERBS), self.random.choice(NAMES)
        old, new = self.random.choice([None, self.content()]), self.content()
        if verb in ("get", "rename", "delete"):
            old = self.content()
        put(self.up / name, old)
        to = self.random.choice([other for other in NAMES if other != name])
        put(self.up / to, None)
        put(self.local / "up", new)
        put(self.local / "down", None)
        local = str(self.local / ("up" if verb == "put" else "down"))
        order = Order(verb, f"/up/{name}", to=f"/up/{to}", local=local)
        plan = self.plan(b"STOR" if verb == "put" else b"RETR")
        user, password = self.server.user, self.server.password
        ran = self.run(
            plan, False,
            lambda proxy: client.command(Connection(HOST, user, password, port=proxy.port), order),
        )  # fmt: skip
        left = self.settle()
        found, moved = held(self.up / name), held(self.up / to)
        files = (old, new), (found, moved), held(self.local / "down")
        what = f"{client.name} {verb} '{name}' with ours, {self.where()}, {ran.struck}, exit {ran.code}"
        problem = judge_peer(client.name, verb, ran.code, ran.struck, *files)
        if problem and client.name == "lftp" and is_second_try(ran, found):
            self.watch.findings.excuse("second try of lftp", f"{what}: {problem}{ran.shown()}")
            problem = None
        problem = left or (self.unlike_confirmed(ran, name) if verb == "put" else None) or problem
        if ran.code and not ran.struck and not ran.ended.paused:
            problem = problem or "failed without a reason"
        self.watch.findings.count(f"{client.name} {verb}", client.name, "done" if ran.code == 0 else "failed")
        self.report(what, ran, [problem] if problem else [])

    def unlike_confirmed(self, ran: Ran, name: str) -> Optional[str]:
        """Returns what is wrong if our server confirmed an upload and stored other bytes than it had received."""
        found = held(self.up / name)
        if self.kind.name != "ours" or ran.confirmed in (None, found):
            return None
        return f"the server confirmed {describe(ran.confirmed)}, and stored {describe(found)}"


class Watch:
    """A run of the watch."""

    def __init__(self, program: str, place: Place, seed: int, minutes: float, stops: bool) -> None:
        self.program, self.place, self.seed, self.minutes = program, place, seed, minutes
        self.random = random.Random(f"{seed}/watch")
        self.findings = Findings("watch", stops)
        self.machines = machines.Machines()
        self.home = place.path / "home"
        self.home.mkdir()
        self.secret = f"secret-{seed}-{secrets.token_hex(6)}"

    def run(self) -> Findings:
        kinds = peers.all_servers(self.program, self.secret)
        clients = [client for client in (Curl(), Lftp(), Rclone(), Ftplib()) if client.is_installed()]
        say(f"watch: {self.minutes:g} min, seed {self.seed}, servers {', '.join(kind.name for kind in kinds)}")
        promises.check_all(self.program, self.place, self.random, self.machines, self.findings)
        turns = itertools.cycle(clients)
        end = time.monotonic() + self.minutes * 60
        while time.monotonic() < end and not self.findings.is_over():
            # Our server gets half of the time, and our client the other half. All servers start again and again, because
            # each start of ours draws another machine.
            half = min(self.minutes, MINUTES) * 30
            for _ in range(2):
                with self.watched(kinds[0]) as eyes:
                    self.some(lambda: eyes.act_as(next(turns)), half / 2, end)
            for kind in kinds:
                with self.watched(kind) as eyes:
                    self.some(eyes.act, half / len(kinds), end)
        self.machines.check(self.findings)
        if not self.minutes:
            return self.findings
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.findings.counts.items()))
        say(f"counts: {counts}")
        # A short run is mostly spent waiting for timeouts and for the slow network.
        least = int(self.minutes / 5)
        self.findings.least([kind.name for kind in kinds], least, "server")
        self.findings.least([client.name for client in clients], least, "client")
        self.findings.least(KINDS, least, "fault")
        return self.findings

    @contextlib.contextmanager
    def watched(self, kind: peers.Kind) -> Iterator[Eyes]:
        """Runs a server, with a slow network to a part of its clients. Ours runs on a random machine."""
        machine = machines.PLAIN
        if kind.name == "ours":
            machine = self.machines.draw(self.random, "server")
            kind = peers.ours(self.program, self.secret, prefix=machine.prefix)
            self.findings.count(f"server on {machine.name}")
        with machines.network(self.random.choice(machines.TRIPS)) as network:
            with peers.Server(kind, tls=False, host=network.host) as server:
                yield Eyes(self, kind, server, network, machine)

    def some(self, act, seconds: float, end: float) -> None:
        until, count = min(end, time.monotonic() + seconds), 0
        while (time.monotonic() < until or count < TURNS) and not self.findings.is_over():
            act()
            count += 1
