"""The soak: workers use all kinds of clients with our server, and some of their actions go wrong on purpose.

Each worker owns a directory and knows what every name in it must hold. After each action that a client reports as
done, the worker compares the files on disk with the required state. After a failed action, it waits until the server
has no socket for the worker's address. Then the files must be in the state before or after the action.
"""

import contextlib
import os
import pathlib
import random
import re
import secrets
import subprocess
import threading
import time
from typing import NamedTuple, Optional

import faults
import gateways
import machines
import peers
import programs
import server as servers
import switches
from actions import SHARED, VERBS, Action, Maker
from clients import CLIENTS, Client, Connection, all_clients
from findings import Findings, indented, say, shown
from model import Content, State, Torn, Tree, described, verdict
from place import HOST, Place, Unavailable, worker_address

# Maximum seconds of a program: the sum of its timeouts, with a margin for a busy machine.
LONGEST = 90.0
SETTLED = 40.0
# Maximum growth of the server's memory, in KiB: allocators keep some.
GROWTH = 4_096
# The size of a piece in bytes, and the number of pieces that may hold bytes from two places of a file.
PIECE, SEAMS = 1_024, 4
# If a data connection is lost while curl 7.88 has sent REST, it sends PASV, and takes 350 for its reply.
LOSSY = ("curl", 13)
# One action in this number comes after a change by another program.
ACTS = 8
# The number of uploads that a worker remembers.
UPLOADS = 20
# The actions that transfer a file, and all actions that take long enough to be broken.
TRANSFERS = ("get", "put", "append", "resume", "continue", "race")
BREAKABLE = (*TRANSFERS, "rename")
# Codes that may end a transfer: those of success, and those of each fault.
CODES = frozenset({"213", "226", "250", "421", "425", "426", "450", "451", "452", "522", "550", "552", "554"})
# The number of connections that a gateway keeps by default, and the KiB of cut uploads.
CONNECTIONS, KEPT = 8, 64 << 10
# Seconds after which a gateway refuses to change what another session is still changing.
TURN = 5.0
# Exit codes of our client that no fault excuses: internal error and usage.
NEVER = (1, 2)
# Exit code of our client if the server's file is not the one that it sent.
INTEGRITY = 11


class Scope(NamedTuple):
    """The scope of a soak: by default everything, or a part to search for one fault."""

    actions: tuple[str, ...] = VERBS
    # Names of clients. Our client does what none of them can do.
    clients: tuple[str, ...] = CLIENTS
    faults: tuple[str, ...] = faults.KINDS
    # One action in this number goes wrong.
    every: int = 10
    workers: int = 5


class Ran(NamedTuple):
    """The result of a client's run."""

    code: int
    said: bytes
    begin: float
    end: float
    # The fault that affected this client or, at that time, all clients.
    fault: Optional[str]
    harmed: bool
    is_tls: bool
    # What the kernel knew about the client when its time was over.
    evidence: str


class Worker:
    """One user with one directory, who carries out one action at a time."""

    def __init__(self, soak: "Soak", number: int, user: str, address: str) -> None:
        self.soak, self.user, self.number = soak, user, number
        self.address, self.base, self.is_far = address, f"/w{number}", address == machines.Far.address
        self.random = random.Random(f"{soak.seed}/{number}")
        self.tree = Tree()
        self.local = soak.place.local / f"w{number}"
        self.local.mkdir()
        self.disk = soak.place.root / f"w{number}"
        self.disk.mkdir()
        self.maker = Maker(self.tree, self.base, self.local, self.random)
        self.actions, self.deck = 0, []
        self.uploads: dict[str, bytes] = {}

    def draw(self) -> tuple[str, Client]:
        """Returns the next kind of action and the next client. Each pair is equally frequent."""
        if not self.deck:
            self.deck = [(verb, client) for verb in self.soak.scope.actions for client in self.soak.clients]
            self.random.shuffle(self.deck)
        return self.deck.pop()

    def remember(self, action: Action) -> None:
        """Remembers what an action uploads, to tell where wrong bytes come from."""
        if action.order.verb in ("put", "append", "continue"):
            title = f"upload {self.actions} {action.order.path!r}"
            self.uploads[title] = pathlib.Path(action.order.local).read_bytes()
            self.uploads = dict(list(self.uploads.items())[-UPLOADS:])

    def connection(self) -> Connection:
        server = self.soak.server
        security = self.random.choice(["plain", "explicit", "explicit", "implicit"])
        active = self.random.random() < 0.3
        password, authority = server.passwords[self.user], str(self.soak.place.authority)
        host = self.soak.network.host if self.is_far else HOST
        return Connection(self.address, self.user, password, security, active, authority, host=host)

    def suffer(self) -> None:
        """Lets another program change one of the worker's files. What it leaves is what must be there."""
        name = self.maker.some()
        if not self.soak.acts or name is None or self.random.randrange(ACTS):
            return
        was_interrupted = self.tree.is_interrupted(name)
        self.random.choice(self.soak.acts).act(self.disk / name)
        seen = [path for path in self.disk.iterdir() if not path.name.startswith((servers.HIDDEN, servers.BEYOND))]
        now = {path.name: path.read_bytes() for path in seen if path.is_file()}
        changed = {one: now.get(one) for one in {*now, *self.tree.files} if now.get(one) != self.tree.files.get(one)}
        self.tree.adopt(changed)
        if was_interrupted:
            # The server still lets nobody resume there.
            self.tree.interrupt({name: now.get(name), **changed})

    def act(self) -> None:
        """Carries out the next action."""
        self.actions += 1
        self.suffer()
        scope = self.soak.scope
        kind = self.soak.faults.draw() if self.actions % scope.every == 0 else None
        verb, client = self.draw()
        if kind and verb not in BREAKABLE:
            verb = self.random.choice([other for other in TRANSFERS if other in scope.actions] or [verb])
        action, connection = self.maker.make(verb, slow=bool(kind)), self.connection()
        command = client.command(connection, action.order)
        if command is None:
            connection = connection._replace(security="explicit")
            command = client.command(connection, action.order)
        if command is None:
            client = self.soak.ours
            command = client.command(connection, action.order)
        machine = machines.PLAIN
        if client is self.soak.ours:
            machine = self.soak.machines.draw(self.random, "client")
            command = command._replace(words=[*machine.prefix, *command.words])
            self.soak.findings.count(f"client on {machine.name}")
        names = set(action.after)
        before = self.tree.state(names)
        self.remember(action)
        logged = self.soak.server.log.stat().st_size
        ran = self.run(command, kind, connection.is_tls)
        title = f"{client.name} {action.name} {action.order.path!r}"
        if action.order.to:
            title += f" to {action.order.to!r}"
        title += f", {connection.security}, {'active' if connection.active else 'passive'}, fault {ran.fault}"
        if self.is_far:
            self.soak.findings.count("over the slow network")
        title += f", client on {machine.name}, server on {self.soak.server_on.name}"
        title += f", over {self.soak.network.line}" if self.is_far else ""
        title += f", exit {ran.code} after {ran.end - ran.begin:.1f} s"
        problem = self.judge(client, action, ran, before)
        if problem:
            told = [*ran.evidence.splitlines(), *self.soak.server.logged(self.user, logged)]
            self.soak.findings.add(f"{title}: {problem}{shown(ran.said)}{indented(told)}")
        counted = [action.name, client.name, connection.security, "done" if ran.code == 0 else "failed"]
        self.soak.findings.count(*counted, "active" if connection.active else "passive")

    def run(self, command, kind: Optional[str], is_tls: bool) -> Ran:
        begin, struck, lies = time.monotonic(), False, self.soak.lies()
        output = self.local / "output"
        with open(output, "wb") as file:
            with self.soak.network.far() if self.is_far else contextlib.nullcontext():
                process = subprocess.Popen(
                    command.words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=self.local,
                    env={**os.environ, "HOME": str(self.soak.home), **command.environment},
                )  # fmt: skip
            if kind:
                delay = self.random.uniform(0, 0.8)
                length = self.random.choice([0.5, 1.0, 2.0, 7.0])
                if kind in faults.GLOBAL:
                    length = min(length, 1.0)
                struck = self.soak.faults.strike(kind, self.address, process, delay, length)
            code, evidence = programs.wait(process, LONGEST)
        end, said = time.monotonic(), output.read_bytes()
        common = self.soak.faults.between(begin, end)
        own = kind if struck and kind in faults.LOCAL else None
        paused = "a pause of the machine" if programs.WITNESS.paused(begin) else None
        if paused:
            self.soak.findings.count("run during a pause")
        harm = own or common or paused or ("the disk" if self.soak.lies() > lies else None)
        return Ran(code, said, begin, end, harm or (kind if struck else None), bool(harm), is_tls, evidence)

    def judge(self, client: Client, action: Action, ran: Ran, before: State) -> Optional[str]:
        """Returns what is wrong, if anything. Afterwards the model matches the disk."""
        done, problems = ran.code == 0, []
        if ran.code == programs.KILLED and not (client.name == "lftp" and ran.fault):
            problems.append(f"still ran after {LONGEST:.0f} s")
        if client.name == "ours" and any(secret in ran.said for secret in self.soak.secrets):
            problems.append("said a password")
        if done and action.name == "race":
            self.soak.stored.add(pathlib.PurePosixPath(action.order.path).name)
        if client.name == "ours" and ran.code in NEVER:
            problems.append("this exit code must never be seen")
        if done and not action.works:
            problems.append("done, although it cannot be")
        # Another worker can replace the file before our client asks for the file's size.
        is_replaced = action.name == "race" and client.name == "ours" and ran.code == INTEGRITY
        is_lost = self.is_far and (client.name, ran.code) == LOSSY
        # A gateway that does not know of a cut upload resumes none, and appends to no file whose size was asked.
        may_fail = action.may_fail or self.soak.upstream and action.name in ("append", "continue")
        is_late = bool(self.soak.upstream) and action.name == "race" and ran.end - ran.begin >= TURN
        if not done and action.works and not (may_fail or ran.harmed or is_replaced or is_lost or is_late):
            problems.append("failed without a reason")
        if not done and not self.settle():
            problems.append(f"sockets of the server are left after {SETTLED:.0f} s")
        problems += filter(None, [self.judge_files(client, action, ran, before, done)])
        problems += filter(None, [self.judge_local(client, action, ran)])
        if action.directory:
            problems += filter(None, [self.judge_directory(action, done)])
        if done and action.lists is not None:
            names = frozenset(line.rstrip("/").rpartition("/")[2] for line in ran.said.decode().splitlines())
            if names != action.lists:
                problems.append(f"listed {sorted(names)}, must be {sorted(action.lists)}")
        return "; ".join(problems) or None

    def judge_files(self, client: Client, action: Action, ran: Ran, before: State, done: bool) -> Optional[str]:
        if not action.after:
            return None
        found = self.found(action.after)
        crashed = self.soak.faults.crashed_between(ran.begin, time.monotonic())
        problem = verdict(before, action.after, found, done, torn(action, ran, crashed, bool(self.soak.upstream)))
        if problem and client.name == "lftp" and ran.fault and is_of(action.after, found):
            # lftp itself sent wrong bytes in a second try: see docs/reliability.md.
            self.soak.findings.count("wrong bytes from lftp")
            problem = None
        if problem:
            sources = {**{f"old {name}": content for name, content in before.items()}, **self.uploads}
            for name, content in found.items():
                problem += f"; {name!r} holds {', '.join(composition(content or b'', sources))}"
        self.tree.adopt(found)
        if (ran.harmed or not done) and action.order.verb in ("put", "append", "continue"):
            # A client that retries by itself may have begun to replace what it had just stored.
            self.tree.interrupt(found)
        return problem

    def judge_directory(self, action: Action, done: bool) -> Optional[str]:
        name, was_there = action.directory, action.directory in self.tree.directories
        is_there = (self.disk / name).is_dir()
        (self.tree.directories.add if is_there else self.tree.directories.discard)(name)
        wanted = action.name == "mkdir" if done else was_there
        if is_there != wanted and (done or not action.works):
            return f"the directory is {'there' if is_there else 'missing'}"
        return None

    def judge_local(self, client: Client, action: Action, ran: Ran) -> Optional[str]:
        """Returns what is wrong with the local files after a download, if anything."""
        if action.order.verb not in ("get", "resume"):
            return None
        path = pathlib.Path(action.order.local)
        found = path.read_bytes() if path.exists() else None
        problem = None
        if ran.code == 0 and action.works and found != action.gives:
            problem = f"done, but the local file holds {described({path.name: found, 'must be': action.gives})}"
        # A resumed download grows in place.
        is_part = action.order.verb == "resume" and found is not None and action.gives.startswith(found)
        if ran.code and client.name == "ours" and found not in (action.local, action.gives) and not is_part:
            problem = f"not done, and the local file holds {described({path.name: found, 'before': action.local})}"
        if client.name == "ours" and ran.code != -9 and action.order.verb == "get":
            # The journal of an interrupted upload waits for the run that resumes it.
            names = {name for name in os.listdir(self.local) if not name.endswith(".ftp-cli-upload")}
            left = sorted(names - {"up", "down", "output"})
            if left:
                problem = f"{problem or ''} left {left}".strip()
        for name in set(os.listdir(self.local)) - {"up", "output"}:
            other = self.local / name
            if other.is_file():
                other.unlink()
        return problem

    def found(self, names) -> State:
        """Returns what names hold on the server's disk."""
        paths = {name: self.disk / name for name in names}
        return {name: path.read_bytes() if path.exists() else None for name, path in paths.items()}

    def settle(self) -> bool:
        """Waits until the server has ended all sessions of this worker."""
        limit, upstream = programs.Limit(SETTLED), self.soak.upstream
        while servers.sessions(self.address) or upstream and upstream.is_busy():
            if limit.is_over():
                return False
            time.sleep(0.01)
        return True

    def check_all(self) -> None:
        """Compares all names of the worker with the model."""
        names = {name for name in os.listdir(self.disk) if not name.startswith((servers.HIDDEN, servers.BEYOND))}
        if names != self.tree.names():
            self.soak.findings.add(f"{self.base} has {sorted(names)}, must have {sorted(self.tree.names())}")
        for name, content in self.tree.files.items():
            if self.found([name])[name] != content:
                self.soak.findings.add(f"{self.base}/{name} is not what was stored last")


def torn(action: Action, ran: Ran, crashed: bool, is_gateway: bool) -> Optional[Torn]:
    """Returns what a failed upload may leave, according to docs/reliability.md; None if only the old or new file."""
    if is_gateway and action.name == "append":
        [(name, content)] = action.after.items()
        return action.torn or Torn(name, b"", content)
    # Without TLS, the end of a killed client's data looks like the end of the file.
    is_ended = ran.fault in ("kill", "terminate") and not ran.is_tls
    if is_ended and action.name == "put":
        [(name, content)] = action.after.items()
        return Torn(name, b"", content)
    return action.torn if crashed or is_ended else None


def is_of(after: State, found: State) -> bool:
    """Returns whether the found files consist of pieces of the new files, except for a few pieces at seams."""
    pieces = [
        (new, content[at : at + PIECE]) for name, content in found.items() for new in [after.get(name)]
        if content and new for at in range(0, len(content), PIECE)
    ]  # fmt: skip
    strange = sum(piece not in new for new, piece in pieces)
    return bool(pieces) and strange <= SEAMS


def composition(found: bytes, sources: dict[str, Content]) -> list[str]:
    """Returns which parts of the sources a file consists of, in its order."""
    parts, at = [], 0
    while at < len(found):
        piece = found[at : at + PIECE]
        places = [(name, source, source.find(piece)) for name, source in sources.items() if source and piece in source]
        if places:
            name, source, place = places[-1]
            length = len(os.path.commonprefix([found[at:], source[place:]]))
            parts.append(f"{length} bytes of {name} from {place}")
        else:
            length = len(piece)
            parts.append(f"{length} other bytes")
        at += length
    return parts


class Soak:
    """A run of the soak."""

    def __init__(
        self, program: str, place: Place, seed: int, minutes: float, stops: bool, scope: Scope, wanted: tuple[str, ...] = (),
        beyond: str = "",
    ) -> None:  # fmt: skip
        """`beyond` is the name of a server: then ours is a gateway to it."""
        self.place, self.seed, self.minutes, self.scope = place, seed, minutes, scope
        self.findings = Findings("soak", stops)
        self.home = place.path / "home"
        self.home.mkdir()
        installed = all_clients(program)
        self.ours = installed[0]
        self.clients = [client for client in installed if client.name in scope.clients]
        if not self.clients:
            raise Unavailable(f"not installed: {', '.join(scope.clients)}")
        self._end = contextlib.ExitStack()
        self.set_up(wanted)
        users = {f"user{number}": "discard" if number % 2 else "resume" for number in range(scope.workers)}
        (place.root / "shared").mkdir()
        # A confined session cannot read the file with the faked clock, so every second seed does without.
        settings = ("security.confine=off",) if seed % 2 else ()
        self.machines, self.random, self.server_on = machines.Machines(), random.Random(f"{seed}/machines"), machines.PLAIN
        # One worker of several is at the other end of a slow network. All others, and the server, share this one.
        self.network = self._end.enter_context(machines.network(self.random.choice(machines.TRIPS)))
        addresses = [worker_address(number) for number in range(scope.workers)]
        if self.network.line and scope.workers > 1:
            addresses[-1] = self.network.address
        hosts = (HOST, self.network.host)
        root, store = self.begin_upstream(program, beyond)
        self.server = servers.Server(
            program, place, users, seed, settings, prefix=self.next_machine, hosts=hosts, root=root, store=store
        )  # fmt: skip
        self.secrets = [password.encode() for password in self.server.passwords.values()]
        self.faults = faults.Faults(place, self.server, seed, scope, addresses, self.findings, self.upstream)
        self.workers = [Worker(self, *one) for one in zip(range(scope.workers), users, addresses)]
        # The shared names that some client has stored.
        self.stored: set[str] = set()
        self.warm: Optional[servers.Figures] = None
        self.last: Optional[servers.Figures] = None

    def set_up(self, wanted: tuple[str, ...]) -> None:
        """Turns on switches: a disk of the server that lies, and other programs beside it."""
        names = wanted or switches.some(random.Random(f"{self.seed}/switches"), ("disk", "act"))
        # The model does not know that two names can be one file.
        names = [name for name in names if switches.ALL[name].side != "client" and name != switches.Link.name]
        self.world = self._end.enter_context(switches.World(names).setup(self.place.disk / "lies"))
        self.acts = [switches.ALL[name](random.Random(f"{self.seed}/{name}")) for name in names if switches.ALL[name].kind == "act"]
        if disk := self.world.disk("server"):
            self.place.root, self.place.shown = disk.files / "root", disk.shown / "root"
            self.place.root.mkdir()
        say(f"switches: {', '.join(names) or 'none'}")

    def begin_upstream(self, program: str, beyond: str) -> tuple[str, str]:
        """Starts the server beyond a gateway, if there is one. Returns the root and the store of our server."""
        self.upstream: Optional[gateways.Upstream] = None
        if not beyond:
            return "", ""
        known = {kind.name: kind for kind in peers.all_servers(program, secrets.token_hex(8))}
        if beyond not in known:
            raise Unavailable(f"{beyond!r} is none of {', '.join(known)}")
        kind = known[beyond]
        if beyond == "ours":
            kind = peers.ours(program, kind.password, "limits.min_free=0", "limits.per_address=0", "limits.ban_after=0")
        self.upstream = self._end.enter_context(gateways.Upstream(kind, self.place.shown, random.Random(f"{self.seed}/upstream")))
        say(f"gateway to {beyond}")
        return gateways.ROOT, gateways.store_at(self.upstream.between, self.upstream.other, self.place.path)

    def lies(self) -> int:
        """Returns how often the disk has told a lie that excuses a failure."""
        return sum(disk.count for disk in self.world.disks if not disk.is_free)

    def next_machine(self) -> tuple[str, ...]:
        """Draws the machine on which the server starts."""
        self.server_on = self.machines.draw(self.random, "server")
        self.findings.count(f"server on {self.server_on.name}")
        return self.server_on.prefix

    def run(self) -> Findings:
        say(f"soak: {self.minutes:g} min, seed {self.seed}, clients {', '.join(c.name for c in self.clients)}")
        say(f"slow network: {self.network.line}")
        self.server.start()
        try:
            # In the last third, the server is not killed, so one process serves all of it.
            self.phase(self.minutes * 40)
            self.faults.crashes = False
            self.phase(self.minutes * 5)
            self.warm = self.resting()
            self.phase(self.minutes * 15)
            self.last = self.resting()
            self.compare()
            self.check_beyond()
            self.end()
        finally:
            if self.server.process and self.server.process.poll() is None:
                self.server.stop()
            self._end.close()
        self.machines.check(self.findings)
        self.check_shared()
        self.check_log()
        self.check_counts()
        return self.findings

    def phase(self, seconds: float) -> None:
        """Lets all workers act for this time."""
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self.work, args=(worker, end)) for worker in self.workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for worker in self.workers:
            worker.settle()
            worker.check_all()

    def work(self, worker: Worker, end: float) -> None:
        try:
            while time.monotonic() < end and not self.findings.is_over():
                worker.act()
        except Exception as error:  # A broken campaign must not look like a quiet one.
            self.findings.add(f"the campaign itself failed in {worker.base}: {type(error).__name__}: {error}")
            raise

    def resting(self) -> servers.Figures:
        """Returns the resources that the server holds shortly after all clients have disconnected."""
        # Each listener that ran out of descriptors reopens its spare descriptor at its next connection.
        self.server.touch()
        self.server.greeting()
        self.server.serial()
        # After a reload, the first login with a root opens the descriptors that all sessions with that root share.
        for user in self.server.users:
            self.server.log_in(user)
        figures, end = self.server.figures(), time.monotonic() + 15
        while time.monotonic() < end:
            time.sleep(0.5)
            now = self.server.figures()
            if (now.descriptors, now.threads) == (figures.descriptors, figures.threads):
                break
            figures = now
        return self.server.figures()

    def compare(self) -> None:
        warm, last = self.warm, self.last
        say(f"server at rest: {warm}; after the last quarter: {last}")
        # A gateway keeps connections, each with a thread while a command may still be carried out, and cut uploads.
        spare, growth = (CONNECTIONS, GROWTH + KEPT) if self.upstream else (0, GROWTH)
        if last.descriptors > warm.descriptors + spare or last.threads > warm.threads + spare or last.kib > warm.kib + growth:
            more = ", ".join((last.open - warm.open).elements()) or "no descriptor"
            self.findings.add(f"the server holds more than before: {last}, before: {warm}; more of: {more}")

    def check_beyond(self) -> None:
        """Checks that a gateway, since it was last killed, has left none of its files on the other server."""
        killed = time.time() - (time.monotonic() - self.faults.last_crash())
        end = time.monotonic() + SETTLED

        def left() -> list[pathlib.Path]:
            return [path for path in self.place.root.rglob(f"{servers.BEYOND}*") if path.stat().st_mtime > killed]

        while left() and time.monotonic() < end:
            time.sleep(0.2)
        if found := left():
            self.findings.add(f"the gateway has left {[path.name for path in found]}")

    def end(self) -> None:
        """Ends the server, and checks that its next start removes old partial uploads."""
        status = self.server.stop()
        if status != 0:
            self.findings.add(f"the server ended with {status}")
        if self.upstream:
            return
        kept = {record.bytes for record in self.server.records()}
        odd = [path.name for path in self.server.bytes_left() if path not in kept]
        if odd:
            self.findings.add(f"bytes are left that no record names: {odd}")
        # Two days later, the bytes must be removed. The records stay.
        self.server.set_clock(faults.CLOCK_STEPS + 2 * 86_400)
        self.server.start()
        end = time.monotonic() + 30
        while self.server.bytes_left() and time.monotonic() < end:
            time.sleep(0.2)
        if self.server.bytes_left():
            self.findings.add(f"partial uploads are left after two days: {self.server.bytes_left()}")

    def check_shared(self) -> None:
        """Checks that each file that several workers wrote has one of their contents, complete."""
        for name in SHARED:
            path = self.place.root / "shared" / name
            attempts = set().union(*(worker.maker.attempted.get(name, set()) for worker in self.workers))
            if path.exists() and path.read_bytes() not in attempts:
                self.findings.add(f"/shared/{name} is none of the {len(attempts)} files that were stored there")
            if name in self.stored and not path.exists():
                self.findings.add(f"/shared/{name} was stored, and is missing")

    def check_log(self) -> None:
        """Checks that the log has no panic, no unexpected code and no password."""
        text = self.server.log.read_bytes() + (self.place.path / "server.stderr").read_bytes()
        for secret in self.secrets:
            if secret in text:
                self.findings.add("the log of the server has a password")
        if b"panick" in text:
            self.findings.add("a session of the server panicked")
        lines = text.decode(errors="replace").splitlines()
        codes = [(code[1], line) for line in lines if (code := re.search(r" reply=(\d+)", line))]
        if not codes:
            self.findings.add("the log has no codes")
        for code, line in codes:
            if code not in CODES:
                self.findings.add(f"unexpected code: {line}")

    def check_counts(self) -> None:
        """Checks that enough has happened for a run without findings to be meaningful."""
        self.findings.counts.update(self.faults.counts)
        for switch in (*self.world.disks, *self.acts):
            say(f"switch {switch.name}: took effect {switch.count} times")
            # What no client asks for shows only in `switches`.
            if not switch.count and self.minutes >= 1 and not switch.shown_by:
                self.findings.add(f"the switch {switch.name!r} changed nothing")
        for worker in self.workers:
            say(f"{worker.base}: {worker.actions} actions, {len(worker.tree.files)} files")
        say("counts: " + ", ".join(f"{name} {count}" for name, count in sorted(self.findings.counts.items())))
        say(f"server: started {self.server.starts} times")
        # If every action goes wrong, only breakable actions happen.
        actions = [name for name in self.scope.actions if self.scope.every > 1 or name in BREAKABLE]
        self.findings.least(actions, max(1, int(6 * self.minutes)), "action")
        # If faults are rarer than by default, a kind of fault may not happen at all.
        least = max(1, int(self.minutes)) if self.scope.every <= Scope().every else 0
        self.findings.least(self.faults.kinds, least, "fault")
        self.findings.least([client.name for client in self.clients], int(20 * self.minutes), "client")
