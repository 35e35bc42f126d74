"""The watch: random use of our client with every server and a gateway to it, and of every client with our server and one
gateway.

All connections go through a proxy that breaks some transfers. What a program reports is then compared with
the files of both sides. After exit 0 the target file must be complete; after a failure it must be the old or the
new file. No program may wait longer than its timeouts, and no output may contain the password.

Each server runs for some actions with three to five switches. A finding is repeated with fewer actions and switches, and
is printed with the fewest that show it.
"""

import collections
import contextlib
import os
import pathlib
import random
import secrets
import shlex
import tempfile
import time
from typing import Callable, Iterator, NamedTuple, Optional

import cuts
import gateways
import machines
import others
import peers
import programs
import promises
import switches
import trees
from clients import Command, Curl, Ftplib, Lftp, Rclone
from findings import Findings, fewest, say
from model import Content, describe
from others import NAMES
from outcomes import Ran, wrong
from place import HOST, Place, Unavailable
from proxy import KINDS, Plan, Proxy
from trees import held, put

# Bytes of a long append.
LARGE = 3 << 20
SIZES = (0, 1, 1_000, 65_536, 200_001, 600_000)
# Timeouts of our client, in seconds: short, so that runs reach each of them.
TIMEOUTS = {"connect": 3, "reply": 3, "stall": 3, "final": 4}
# Maximum seconds of our client: twice the longest sum of timeouts, for a busy machine. And of other clients.
LONGEST, LONGEST_OF_OTHERS = 60.0, 120.0
VERBS = ("get", "resume", "put", "continue", "append", "move", "list", "rename", "delete", *trees.VERBS)
# Seconds to look for the fewest switches and actions of a finding, and how often each set is tried.
SHRINK, TRIES = 90.0, 3
# Where the command of our client has the proxy's address.
PLACE = "{place}"
# Maximum minutes until all servers start again.
MINUTES = 6
# Minimum number of turns of each server, and of periods in which a switch must have taken effect.
TURNS, PERIODS = 3, 12
# Actions in which a switch must take effect if it is on alone.
ACTIONS = 200
# Seconds within which a server must notice the end of its client.
SETTLED = 20.0
# Exit codes that no fault excuses: internal error and usage.
NEVER = (1, 2)


def sessions(port: int) -> list[str]:
    """Returns the connections that a server still holds at its port, as the kernel shows them."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    # Neither listening nor in TIME_WAIT, and held by a program.
    return [
        line.strip() for line, one in zip(lines, fields)
        if one[1].endswith(f":{port:04X}") and one[3] not in ("0A", "06") and one[9] != "0"
    ]  # fmt: skip


class Period(NamedTuple):
    """Some actions with one server and the same switches. Its choices follow from the seed and these fields."""

    server: str
    turn: int
    # Whether our client acts, or other clients do.
    is_ours: bool
    switches: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.server}/{self.turn}/{'ours' if self.is_ours else 'others'}"


class Eyes(trees.Trees, others.Others):
    """Watches one program with one server."""

    def __init__(
        self, watch: "Watch", kind: peers.Kind, server: peers.Server, network: machines.Near, server_on: machines.Machine,
        period: Period, world: switches.World, between: Optional[gateways.Between],
    ) -> None:  # fmt: skip
        self.between = between
        # Whether a failed upload must leave the old file.
        self.is_atomic = kind.name == "ours" or between is not None
        self.watch, self.kind, self.server, self.period, self.world = watch, kind, server, period, world
        self.random, self.found = random.Random(), []
        # The port of the last proxy.
        self.port = 0
        self.network, self.is_slow, self.machine, self.server_on = network, False, machines.PLAIN, server_on
        disk = world.disk("server")
        self.up = (disk.files / "root" if disk else server.root) / "up"
        self.up.mkdir(exist_ok=True)
        self.up.chmod(0o777)
        # The directory of local files, and the same as the client sees it.
        disk = world.disk("client")
        self.local, self.here = (disk.files, disk.shown) if disk else (watch.place.local, watch.place.local)
        promises.clean(self.local)
        self.mirrored = self.local / "mirrored"
        # The file that other programs change while a transfer runs, by which command, and what they have left in it.
        # Without a command: once the client connects again.
        self.subject: tuple[Optional[pathlib.Path], bytes] = (None, b"")
        self.subject_at = 0
        # A local file that comes back while the first file is uploaded, with its content.
        self.returns: Optional[tuple[pathlib.Path, bytes]] = None
        self.left_by_others: list[Content] = []

    def carry_out(self, number: int) -> list[str]:
        """Carries out an action. Returns what is wrong."""
        seed = f"{self.watch.seed}/{self.period.name}/{number}"
        self.random = random.Random(seed)
        self.world.begin(seed)
        self.found, self.subject, self.subject_at, self.left_by_others = [], (None, b""), 0, []
        self.returns = None
        self.act() if self.period.is_ours else self.act_as(self.random.choice(self.watch.clients))
        for name, count in self.world.effects().items():
            self.watch.switched[name] += count
        return self.found

    def provoke(self, how: str) -> None:
        """Does what shows a switch, and what our programs never do."""
        self.world.begin("")
        put(self.up / "full/f", b"content")
        if disk := next(iter(self.world.disks), None):
            put(disk.files / "full/f", b"content")
            os.rmdir(disk.shown / "full")
        else:
            with Proxy(self.server.port, Plan(), at=self.server.host, switches=self.world.dialogues, root=self.server.root) as proxy:
                with contextlib.closing(peers.servers.Session(proxy.port)) as session:
                    session.login(self.server.user, self.server.password)
                    session.expect(how, "250")
        self.watch.switched.update(self.world.effects())

    def meanwhile(self, verb: bytes, moved: int) -> None:
        """Lets other programs change a file in the middle of a transfer, or between two connections."""
        if self.returns and verb == b"STOR" and not self.returns[0].exists():
            put(*self.returns)
        path, when = self.subject
        if path and verb == when and moved >= self.subject_at and not self.left_by_others:
            self.change(path)

    def change(self, path: pathlib.Path) -> None:
        for one in self.world.acts:
            one.act(path)
            self.left_by_others.append(held(path))

    def seen(self, path: pathlib.Path) -> str:
        """Returns a local path as the client sees it."""
        return str(self.here / path.relative_to(self.local))

    # Running programs.

    def run(self, plan: Plan, is_ours: bool, command: Callable[[Proxy], Command], port: int = 0) -> Ran:
        """Runs a client, whose command depends on the proxy. The slow network is between the client and our server, but
        on that side of the proxy where our program is.
        """
        at, longest = self.server.host, LONGEST if is_ours else LONGEST_OF_OTHERS
        # Other clients are not ours to judge by odd servers.
        dialogues = self.world.dialogues if is_ours and not self.between else []
        odd = {"switches": dialogues, "root": self.server.root, "meanwhile": self.meanwhile}
        if self.between:
            is_beyond = bool(plan.kind) and self.random.random() < 0.5
            self.between.begin(plan if is_beyond else Plan(), self.world.dialogues)
            plan = Plan() if is_beyond else plan
        before = self.world.effects()
        with contextlib.ExitStack() as stack:
            if self.is_slow and not is_ours:
                stack.enter_context(self.network.far())
            host = at if self.is_slow and is_ours else HOST
            proxy = stack.enter_context(Proxy(self.server.port, plan, at=at, host=host, own=port, **odd))
            self.port = proxy.port
            if self.is_slow and is_ours:
                stack.enter_context(self.network.far())
            longest *= machines.PATIENCE if self.is_slow else 1
            words, environment = command(proxy)
            environment = {"HOME": str(self.watch.home), **environment}
            ended = programs.run(words, longest, environment, pathlib.Path(self.seen(self.local)))
            if self.between:
                self.between.end()
            if ended.paused:
                self.watch.findings.count("run during a pause")
            seen = (list(proxy.dialogue), proxy.uploads, proxy.confirmed, proxy.stored)
            struck = proxy.struck or (self.between.fault() if self.between else None)
            ran = Ran(ended, struck, *seen)
        return ran._replace(is_odd=self.world.excuses(before))

    def words(self, *words: str) -> list[str]:
        """Returns a command line of our client."""
        times = machines.PATIENCE if self.is_slow else 1
        limits = [word for name, seconds in TIMEOUTS.items() for word in (f"--{name}-timeout", str(seconds * times))]
        login = ["-u", self.server.user, "--no-netrc"]
        return [*self.machine.prefix, self.watch.program, words[0], *login, *limits, *words[1:]]

    def url(self, name: str) -> str:
        # Paths are relative to the login directory, because some servers show the whole disk.
        return f"ftp://{PLACE}/up/" + name.replace(" ", "%20")

    def plan(self, verb: bytes = b"", turns: int = 1, is_needed: bool = False) -> Plan:
        """Draws how a transfer is broken. In a calm watch, it is only if the action is about that."""
        if self.random.random() < 0.4 or self.watch.scope.calm and not is_needed:
            return Plan()
        at = self.random.choice([0, 1, self.random.randint(0, 650_000), self.random.randint(0, 70_000)])
        return Plan(self.random.choice(KINDS), at, self.random.randrange(turns), verb)

    def content(self) -> bytes:
        return self.random.randbytes(self.random.choice(SIZES))

    def report(self, what: str, ran: Ran, problems: list[str]) -> None:
        """Adds a finding if there are problems. Counts a failure for which only a pause of the machine is a reason."""
        if problems:
            self.found.append(f"{what}: {'; '.join(problems)}{ran.shown()}")
        elif ran.code and not ran.struck and not ran.is_odd:
            why = f"the machine stood still for {ran.ended.paused:.1f} s"
            self.watch.findings.excuse("pause", f"{what}: {why}{ran.shown()}")

    def judge(self, title: str, ran: Ran, problems: list[Optional[str]]) -> None:
        """Adds the checks that apply to every run of our client, and reports problems."""
        found = [problem for problem in problems if problem]
        if ran.code == programs.KILLED:
            found.append(f"still ran after {LONGEST:.0f} s")
        if ran.code in NEVER:
            found.append("this exit code must never be seen")
        if ran.code and not ran.struck and not ran.ended.paused and not ran.is_odd:
            found.append("failed without a reason")
        if self.server.password.encode() in ran.said and len(self.server.password) > 8:
            found.append("said the password")
        self.watch.findings.count(title.split(" '")[0].split(" [")[0], self.kind.name, "done" if ran.code == 0 else "failed")
        if ran.struck:
            self.watch.findings.count(ran.struck.kind)
        where = f"{self.kind.name}, {self.where()}"
        what = f"{title} with {where}, {ran.struck}, exit {ran.code} after {ran.ended.seconds:.1f} s"
        self.report(what, ran, found)

    def draw(self) -> None:
        """Draws whether the next action goes over the slow network."""
        self.is_slow = self.network.line is not None and not self.watch.scope.calm and self.random.randrange(machines.SLOW) == 0
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
        verb = self.random.choice(self.watch.scope.verbs)
        getattr(self, "_" + verb.replace(" ", "_"))()

    def ours(self, words: list[str], plan: Plan, port: int = 0) -> Ran:
        environment = {"FTP_PASSWORD": self.server.password}
        return self.run(
            plan, True,
            lambda proxy: Command([word.replace(PLACE, f"{proxy.host}:{proxy.port}") for word in words], environment),
            port,
        )

    def retries(self) -> list[str]:
        return self.random.choice([[], ["--retry", "2", "--retry-delay", "100ms"]])

    def _get(self) -> None:
        name, content = self.random.choice(NAMES), self.content()
        put(self.up / name, content)
        target, old = self.local / "down", self.random.choice([None, b"old"])
        put(target, old)
        # The first byte is only the question whether the server can begin at another one.
        self.subject, self.subject_at = (self.up / name, b"RETR"), self.random.choice([0, 20_000])
        options = [*self.retries(), *self.random.choice([[], [], ["--segments", "3"], ["-p"]])]
        ran = self.ours(self.words("get", *options, self.url(name), self.seen(target)), self.plan())
        whole = [content, *filter(None, self.left_by_others)]
        wanted = whole if ran.code == 0 else [old, *whole]
        # The segments that came are kept for the next run.
        left = self.left("down")
        left = left if "--segments" not in options else None
        ran = ran._replace(is_odd=ran.is_odd or "-p" in options and self.kind.name != "ours")
        self.judge(f"get {options} '{name}'", ran, [wrong("local file", held(target), wanted), left])
        self.forget_others()

    def forget_others(self) -> None:
        """Removes what other programs have made."""
        for top in (self.up, self.local):
            for name in ("moved away", "linked"):
                put(top / name, None)

    def _resume(self) -> None:
        """Tests a download that breaks, and a second try after the file may have changed."""
        name, content, target = self.random.choice(NAMES), self.content(), self.local / "down"
        put(self.up / name, content)
        put(target, None)
        words = self.words("get", "-c", self.url(name), self.seen(target))
        first = self.ours(words, self.plan(b"RETR", is_needed=True))
        wanted = [content] if first.code == 0 else [None, content]
        self.judge(f"get -c '{name}'", first, [wrong("local file", held(target), wanted)])
        if self.random.random() < 0.5 and held(target) is None:
            # Another file of the same length, at least a second later: some servers report times in seconds.
            content = self.random.randbytes(len(content))
            put(self.up / name, content)
            later = time.time() + 5
            os.utime(self.up / name, (later, later))
        second = self.ours(words, Plan(), self.port)
        wanted = [content] if second.ended.is_proof and not (second.code and second.is_odd) else [None, content]
        # What a failed run leaves waits for the next one.
        left = self.left("down") if second.code == 0 else None
        self.judge(f"get -c again '{name}'", second, [wrong("local file", held(target), wanted), left])
        self.left("down")

    def _put(self) -> None:
        name, new = self.random.choice(NAMES), self.content()
        old = self.random.choice([None, self.content(), self.random.randbytes(len(new))])
        put(self.up / name, old)
        put(self.local / "up", new)
        options = [*self.retries(), *self.random.choice([[], [], ["--temp"], ["-p"], ["-c"]])]
        # A server that writes in place cannot tell the bytes of its client from those of another program.
        when = self.random.choice([b"STOR", b""])
        of_server = (self.kind.name == "ours" or not when) and self.random.random() < 0.5
        written = f".in.{name}" if "--temp" in options and self.random.random() < 0.5 else name
        self.subject = self.up / written if of_server else self.local / "up", when
        ran = self.ours(self.words("put", *options, self.seen(self.local / "up"), self.url(name)), self.plan(b"STOR"))
        # Our client may refuse to go on with a file that is not provably its own, and some servers set no times.
        may_refuse = "-c" in options and old is not None or "-p" in options and self.kind.name != "ours"
        ran = ran._replace(is_odd=ran.is_odd or may_refuse)
        others = list(filter(None, self.left_by_others))
        if self.world.may("elsewhere") and "-p" not in options and old and len(old) == len(new):
            # Without a time to set, only the size is compared.
            others.append(old)
        if of_server:
            self.judge_upload(f"put {options} '{name}'", ran, name, [old, *others], [new, *others[len(self.left_by_others) :]])
        else:
            self.judge_upload(f"put {options} '{name}'", ran, name, [old], [new, *others])
        put(self.up / "other program's file", None)
        self.forget_others()

    def _append(self) -> None:
        """Tests that an append happens once or not at all, and takes nothing from a program that appends meanwhile."""
        name, old = self.random.choice(NAMES), self.random.choice([None, self.content()])
        # More than the server keeps out of the file until the end.
        new = self.random.randbytes(LARGE) if self.random.random() < 0.4 else self.content()
        put(self.up / name, old)
        put(self.local / "up", new)
        kinds = (switches.Append, switches.Save, switches.Away)
        self.world.acts = [one for one in self.world.acts if isinstance(one, kinds)][:1]
        if self.kind.name == "ours":
            self.subject, self.subject_at = (self.up / name, b"APPE"), self.random.choice([0, len(new) * 3 // 4])
        words = self.words("put", "--append", *self.retries(), self.seen(self.local / "up"), self.url(name))
        plan = self.plan(b"APPE")
        if len(new) == LARGE and self.random.random() < 0.7:
            # Cut where the server already writes to the file, and after the other program.
            plan = Plan(self.random.choice(["reset", "lost control"]), LARGE * 7 // 8, 0, b"APPE")
        ran = self.ours(words, plan)
        # Some servers append to no file.
        ran = ran._replace(is_odd=ran.is_odd or self.kind.name != "ours")
        if not self.left_by_others:
            longer = (old or b"") + new
            # Of a cut append, what the other server of a gateway has stays.
            parts = [found for found in [held(self.up / name)] if self.between and found and longer.startswith(found)]
            parts = [found for found in parts if len(found) >= len(old or b"")]
            self.judge_upload(f"put --append '{name}'", ran, name, [old, *parts], [longer])
        else:
            left, found = self.settle(), held(self.up / name) or b""
            is_line = isinstance(self.world.acts[0], switches.Append) and old is not None
            lost = is_line and not (found.startswith(old) and switches.MORE in found)
            problem = left or ("what was there, or a line of another program, is gone" if lost else None)
            if ran.code == 0 and new[-1_000:] not in found:
                problem = problem or f"done, and the end of what was appended is not in the file: {describe(found)}"
            self.judge(f"put --append '{name}'", ran, [problem])
        put(self.up / name, None)
        put(self.local / "up", None)

    def _move(self) -> None:
        """Tests that a source is removed only if the server has its last content."""
        name, new = self.random.choice(NAMES), self.content()
        put(self.up / name, self.random.choice([None, self.content(), self.random.randbytes(len(new))]))
        source = self.local / "up"
        put(source, new)
        self.subject = source, b"STOR"
        options = ["--remove-source", *self.retries(), *self.random.choice([[], ["--temp"], ["-p"]])]
        ran = self.ours(self.words("put", *options, self.seen(source), self.url(name)), self.plan(b"STOR"))
        last = ([new, *filter(None, self.left_by_others)])[-1]
        there = [held(path) for path in self.up.iterdir() if path.is_file()]
        here = [held(path) for path in self.local.iterdir() if path.is_file()]
        problem = None
        ran = ran._replace(is_odd=ran.is_odd or "-p" in options and self.kind.name != "ours")
        if self.settle_ours() or last not in there + here:
            problem = f"nobody has the last content of the source, {describe(last)}"
        elif ran.code == 0 and held(self.up / name) not in (new, last):
            problem = wrong("remote file", held(self.up / name), [new, last])
        self.judge(f"put {options} '{name}'", ran, [problem])
        self.fill()
        self.forget_others()

    def settle_ours(self) -> Optional[str]:
        return self.settle() if self.kind.name == "ours" else None

    def judge_upload(self, title: str, ran: Ran, name: str, old: list[Content], new: list[bytes]) -> None:
        """Checks that the file is complete after exit 0. After a failure, our server must have the old or new file."""
        problem = None
        is_cut = bool(ran.struck) and ran.struck.kind.startswith("swallow")
        if ran.code == 0 and not (is_cut and self.world.may("unsized")):
            problem = wrong("remote file", held(self.up / name), new)
        elif ran.code and self.is_atomic and (not ran.struck or not ran.struck.kind.startswith(("swallow", "error"))):
            # Without TLS, no server can detect that the network dropped the end.
            problem = self.settle() or wrong("remote file", held(self.up / name), [*old, *new])
        unlike = None if "--temp" in title else self.unlike_confirmed(ran, name)
        self.judge(title, ran, [unlike or problem])

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
        words = self.words("put", "-c", self.seen(self.local / "up"), self.url(name))
        first = self.ours(words, self.plan(b"STOR", is_needed=True))
        self.judge_upload(f"put -c '{name}'", first, name, [None], [new])
        self.settle()
        if self.kind.name == "ours":
            self.change(self.up / name)
        second = self.ours(words + ["--retry", "3", "--retry-delay", "1"], Plan(), self.port)
        done = second.code == 0
        if not done:
            # Kept for the next try, which nobody makes here.
            for journal in self.local.glob(".*.ftp-cli-upload"):
                journal.unlink()
        problem = self.left("down") or (wrong("remote file", held(self.up / name), [new]) if done else None)
        # Our client may refuse to resume a part that is not provably of this file.
        paused = first.ended.paused + second.ended.paused
        is_odd = first.is_odd or second.is_odd or bool(self.left_by_others)
        second = second._replace(
            struck=second.struck or first.struck, ended=second.ended._replace(paused=paused), is_odd=is_odd
        )  # fmt: skip
        self.judge(f"put -c again '{name}'", second, [self.unlike_confirmed(second, name) or problem])
        self.forget_others()

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
        if ran.code == 0 and not is_lie and not self.world.may("names") and sorted(found) != sorted(names):
            problem = f"listed {len(found)} of {len(names)} names: {sorted(set(names) ^ set(found))[:4]}"
        self.judge("ls ''", ran, [problem])
        self.fill()

    def _rename(self) -> None:
        name, to, content = *self.random.sample(NAMES, 2), self.content()
        put(self.up / name, content)
        put(self.up / to, None)
        ran = self.ours(self.words("mv", self.url(name), f"up/{to}"), Plan())
        state, wanted = (held(self.up / name), held(self.up / to)), [(None, content)]
        if not ran.ended.is_proof or ran.code and ran.is_odd:
            wanted.append((content, None))
        problem = None if state in wanted else f"{describe(state[0])}, {describe(state[1])}"
        self.judge(f"mv '{name}'", ran, [problem])

    def _delete(self) -> None:
        name, content = self.random.choice(NAMES), self.content()
        put(self.up / name, content)
        ran = self.ours(self.words("rm", self.url(name)), Plan())
        is_told = ran.ended.is_proof and not (ran.code and ran.is_odd) and not self.world.may("claims")
        wanted = [None] if is_told else [None, content]
        self.judge(f"rm '{name}'", ran, [wrong("remote file", held(self.up / name), wanted)])

    def left(self, *names: str) -> Optional[str]:
        """Returns what a client left in addition to its files."""
        left = [path.name for path in self.local.iterdir() if path.is_file() and path.name not in ("up", *names)]
        for name in left:
            (self.local / name).unlink()
        return f"left {left}" if left else None

    def unlike_confirmed(self, ran: Ran, name: str) -> Optional[str]:
        """Returns what is wrong if our server confirmed an upload and stored other bytes than it had received."""
        found = held(self.up / name)
        if not self.is_atomic or ran.confirmed in (None, found) or self.world.may("elsewhere"):
            return None
        return f"the server confirmed {describe(ran.confirmed)}, and stored {describe(found)}"


class Scope(NamedTuple):
    """What a watch does: by default everything, with switches drawn from the seed."""

    verbs: tuple[str, ...] = VERBS
    servers: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    # Without broken transfers, unless an action is about one, and without a slow network.
    calm: bool = False
    # One period with some of its actions, as a finding names them: SERVER/TURN/WHO/NUMBER,NUMBER.
    only: str = ""


def is_chosen(name: str, servers: tuple[str, ...]) -> bool:
    """Returns whether a watch is about a server: `gateway` chooses all gateways."""
    return not servers or name in servers or "gateway" in servers and name.startswith(gateways.TO)


class Watch:
    """A run of the watch."""

    def __init__(self, program: str, place: Place, seed: int, minutes: float, stops: bool, scope: Scope) -> None:
        self.program, self.place, self.seed, self.minutes, self.scope = program, place, seed, minutes, scope
        self.random = random.Random(f"{seed}/watch")
        self.findings = Findings("watch", stops)
        self.machines = machines.Machines()
        self.home = place.path / "home"
        self.home.mkdir()
        self.secret = f"secret-{seed}-{secrets.token_hex(6)}"
        self.clients = [client for client in (Curl(), Lftp(), Rclone(), Ftplib()) if client.is_installed()]
        self.resumers = {name: make for name, make in cuts.clients(program).items() if name not in ("put -c", "put --retry")}
        installed = peers.all_servers(program, self.secret)
        installed += gateways.kinds(installed)
        self.kinds = {kind.name: kind for kind in installed if is_chosen(kind.name, scope.servers)}
        # How often each switch took effect, and in how many periods it was on.
        self.switched, self.drawn = collections.Counter(), collections.Counter()

    def run(self) -> Findings:
        say(f"watch: {self.minutes:g} min, seed {self.seed}, servers {', '.join(self.kinds)}")
        if self.scope.only:
            return self.again(self.scope.only)
        if self.scope == Scope():
            promises.check_all(self.program, self.place, self.random, self.machines, self.findings)
        end, turn = time.monotonic() + self.minutes * 60, 0
        while time.monotonic() < end and not self.findings.is_over():
            # Our server gets half of the time, and our client the other half. All servers start again and again, because
            # each start draws other switches, and each one of ours another machine.
            half = min(self.minutes, MINUTES) * 30
            for name, is_ours, seconds in (
                *[(name, False, half / 2) for name in self.for_others() for _ in range(2)],
                *[(name, True, half / len(self.kinds)) for name in self.kinds],
            ):
                turn += 1
                self.watch(Period(name, turn, is_ours, self.draw(name, turn, is_ours)), seconds, end)
        self.machines.check(self.findings)
        if not self.minutes:
            return self.findings
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.findings.counts.items()))
        say(f"counts: {counts}")
        self.tell_switches()
        if self.scope != Scope():
            return self.findings
        # A short run is mostly spent waiting for timeouts and for the slow network.
        least = int(self.minutes / 5)
        self.findings.least(list(self.kinds), least, "server")
        self.findings.least([client.name for client in self.clients], least, "client")
        self.findings.least(KINDS, least, "fault")
        return self.findings

    def for_others(self) -> list[str]:
        """Returns the servers that other clients use: ours, and one gateway."""
        if self.scope.verbs != VERBS:
            return []
        fronts = [name for name in self.kinds if name.startswith(gateways.TO)]
        return [*[name for name in self.kinds if name == "ours"], *self.random.sample(fronts, min(1, len(fronts)))]

    def prove(self, names: list[str]) -> Findings:
        """Turns on each switch alone, with our server and our client, until it takes effect. Each must."""
        for turn, name in enumerate(names or switches.ALL):
            begin, count, one = time.monotonic(), 0, switches.ALL[name]
            self.scope = self.scope._replace(verbs=one.verbs or VERBS)
            with self.watched(Period("ours", turn, True, (name,))) as eyes:
                if one.shown_by:
                    eyes.provoke(one.shown_by)
                while not self.switched[name] and count < ACTIONS:
                    for problem in eyes.carry_out(count):
                        self.findings.add(f"{name}: {problem}")
                    count += 1
            say(f"switch {name}: took effect {self.switched[name]} times in {count} actions, {time.monotonic() - begin:.0f} s")
            if not self.switched[name]:
                self.findings.add(f"the switch {name!r} changed nothing in {count} actions")
        return self.findings

    def draw(self, server: str, turn: int, is_ours: bool) -> tuple[str, ...]:
        """Draws the switches of a period. Only our server gets a disk that lies, and only our client a lying server."""
        chance = random.Random(f"{self.seed}/{turn}/switches")
        kinds = switches.KINDS if is_ours else ("disk", "act")
        drawn = [one for one in self.scope.switches if switches.ALL[one].kind in kinds] or switches.some(chance, kinds)
        return tuple(name for name in drawn if "ours" in server or switches.ALL[name].side != "server")

    def tell_switches(self) -> None:
        """Prints how often each switch was on and took effect. One that was on in many periods without effect is broken."""
        for name, count in sorted(self.drawn.items()):
            say(f"switch {name}: on in {count} periods, took effect {self.switched[name]} times")
            # What our programs never ask for shows only in `prove`.
            if count >= PERIODS and not self.switched[name] and not switches.ALL[name].shown_by:
                self.findings.add(f"the switch {name!r} was on in {count} periods, and changed nothing")

    @contextlib.contextmanager
    def watched(self, period: Period) -> Iterator[Eyes]:
        """Runs a server in its world, with a slow network to a part of its clients. Ours runs on a random machine."""
        chance, machine, kind = random.Random(f"{self.seed}/{period.name}"), machines.PLAIN, self.kinds[period.server]
        if kind.name == "ours":
            machine = self.machines.draw(chance, "server")
            kind = peers.ours(self.program, self.secret, "limits.min_free=0", prefix=machine.prefix)
            self.findings.count(f"server on {machine.name}")
        with contextlib.ExitStack() as stack:
            top = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.place.path)))
            top.chmod(0o755)
            world = stack.enter_context(switches.World(list(period.switches)).setup(top))
            disk = world.disk("server")
            root = disk.shown / "root" if disk else None
            if disk:
                (disk.files / "root").mkdir(mode=0o777)
            network = stack.enter_context(machines.network(chance.choice(machines.TRIPS)))
            if kind.name.startswith(gateways.TO):
                start = gateways.running(self.program, self.secret, kind, root, network.host)
                server, between = stack.enter_context(start)
            else:
                server, between = stack.enter_context(peers.Server(kind, root, tls=False, host=network.host)), None
            yield Eyes(self, kind, server, network, machine, period, world, between)

    def watch(self, period: Period, seconds: float, end: float) -> None:
        """Lets a client act for some seconds, but at least some times."""
        self.drawn.update(period.switches)
        until, count = min(end, time.monotonic() + seconds), 0
        found: list[str] = []
        try:
            with self.watched(period) as eyes:
                while not found and (time.monotonic() < until or count < TURNS) and not self.findings.is_over():
                    found = eyes.carry_out(count)
                    count += 1
            if not found:
                return
            how = self.shrunk(period, count - 1)
        except (OSError, Unavailable) as error:
            if not found:
                raise
            # On a busy machine, a server or a disk may not start in time. The finding counts all the same.
            how = f"\n    not looked for again: {error}; to repeat: {self.repeat(period, list(range(count)), list(period.switches))}"
        self.findings.add(f"{found[0]}{how}")

    def shrunk(self, period: Period, last: int) -> str:
        """Looks for the fewest actions and switches that show a finding. Returns how to repeat it."""
        limit = programs.Limit(SHRINK)

        def shows(numbers: list[int], on: list[str]) -> bool:
            for _ in range(TRIES):
                if limit.is_over():
                    return False
                with self.watched(period._replace(switches=tuple(on))) as eyes:
                    if [eyes.carry_out(number) for number in (*numbers, last)][-1]:
                        return True
            return False

        before, on = list(range(last)), list(period.switches)
        if shows([], on):
            before = []
        elif shows(before, on):
            before = fewest(before, lambda some: shows(some, on))
        else:
            return f"\n    not shown again in {SHRINK:.0f} s; to repeat: {self.repeat(period, [*before, last], on)}"
        on = fewest(on, lambda some: shows(before, some))
        return f"\n    with switches {on or 'off'}; to repeat: {self.repeat(period, [*before, last], on)}"

    def repeat(self, period: Period, numbers: list[int], on: list[str]) -> str:
        only = f"{period.name}/{','.join(map(str, numbers))}"
        chosen = [f"--switches={','.join(on)}"] + [f"--verbs={','.join(self.scope.verbs)}"] * (self.scope.verbs != VERBS)
        chosen += ["--calm"] * self.scope.calm
        return shlex.join(["python3", "-B", "tests/campaign", "watch", "--seed", str(self.seed), "--only", only, *chosen])

    def again(self, only: str) -> Findings:
        """Repeats some actions of a period."""
        server, turn, who, numbers = only.split("/")
        period = Period(server, int(turn), who == "ours", self.scope.switches)
        with self.watched(period) as eyes:
            for number in map(int, numbers.split(",")):
                for problem in eyes.carry_out(number):
                    self.findings.add(problem)
        self.drawn.update(period.switches)
        self.tell_switches()
        return self.findings
