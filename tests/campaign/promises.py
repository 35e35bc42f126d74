"""Promises that random runs rarely test: a function for each, with random contents and offsets."""

import itertools
import os
import pathlib
import random
import re
import signal
import subprocess
import time
from typing import Callable, Optional

import actors
import machines
import odd_hosts
import peers
import programs
import storms
import worlds
from findings import Findings, say
from place import Place, Unavailable
from proxy import Plan, Proxy, reset
from server import RECORD

# Seconds for each timeout of our client, for a whole run, and for the server to notice an event.
TIMEOUT, LONGEST, SOON = 3, 40.0, 15.0
# Bytes that only the content of a file has, and the seconds in which a program must have moved them.
CONTENT, STARTED = 16 << 10, 10.0
# How often a promise is tested at most if the machine stands still meanwhile.
TRIES = 3
# How often a storm is repeated, unless --rounds says otherwise.
ROUNDS = 3
# Bytes of a quota that an empty file or a directory uses, according to docs/faq.md.
COST = 4096


class Scene:
    """Our program, the machines of its server and its client, a directory for local files, and a random generator."""

    def __init__(self, program: str, place: Place, chance: random.Random, stands: machines.Machines) -> None:
        self.program, self.local, self.random, self.machines = program, place.local, chance, stands
        self.server_on, self.client_on = stands.draw(chance, "server"), stands.draw(chance, "client")
        self.password = f"secret-{chance.getrandbits(48):x}"
        # The usual directory for local files. The directory for the servers' files, if they must be on a certain disk.
        self.home, self.disk, self._servers = self.local, None, itertools.count()
        self.rounds = ROUNDS

    def ours(self, *settings: str) -> peers.Server:
        kind = peers.ours(self.program, self.password, *settings, prefix=self.server_on.prefix)
        root = self.disk and self.disk / str(next(self._servers)) / "root"
        if root:
            root.mkdir(parents=True)
        return peers.Server(kind, root, tls=False)

    def client(
        self, server: peers.Server, *words: str, proxy: Optional[Proxy] = None, given: bytes = b""
    ) -> tuple[int, bytes]:
        """Runs our client with an input, and with the server's URL for `{url}`. Returns its exit status and its output."""
        command, environment = self.command(server, words, proxy)
        ended = programs.run(command, LONGEST, environment, self.local, given)
        if ended.evidence:
            dialogue = "\n".join(proxy.dialogue) if proxy else "no proxy"
            say(f"{words} still ran after {LONGEST:.0f} s:\n{dialogue}\n{ended.evidence}")
        return ended.code, ended.said

    def command(
        self, server: peers.Server, words: tuple[str, ...], proxy: Optional[Proxy] = None
    ) -> tuple[list[str], dict[str, str]]:
        """Returns a command line of our client, and its additions to the environment."""
        host, port = (proxy.host, proxy.port) if proxy else (server.host, server.port)
        limits = [f"--{name}-timeout={TIMEOUT}" for name in ("connect", "reply", "stall", "final")]
        words = tuple(word.replace("{url}", f"ftp://{host}:{port}") for word in words)
        login = ["-u", server.user, "--no-netrc", *limits]
        options = login if words[0] != "fxp" else ["--no-netrc"]
        environment = {"FTP_PASSWORD": server.password, "HOME": str(self.local)}
        return [*self.client_on.prefix, self.program, words[0], *options, *words[1:]], environment

    def interrupt(self, server: peers.Server, *words: str, after: float) -> None:
        """Runs our client, and kills it after some seconds."""
        command, environment = self.command(server, words)
        self.stop(command, after, signal.SIGKILL, environment)

    def stop(self, command: list[str], after: float, by: int, environment: dict[str, str] = {}) -> None:
        """Runs a program, and sends it a signal after some seconds: of its run, or of its first transfer.

        A busy machine can take longer to start the program than all of the transfer takes.
        """
        nothing = subprocess.DEVNULL
        running = subprocess.Popen(
            command, env={**os.environ, **environment}, cwd=self.local, stdin=nothing, stdout=nothing, stderr=nothing
        )
        try:
            if self.random.random() < 0.5:
                await_content(running)
            time.sleep(after)
            running.send_signal(by)
            running.wait(LONGEST)
        finally:
            running.kill()
            running.wait()

    def bytes(self, least: int = 100_000, most: int = 300_000) -> bytes:
        return self.random.randbytes(self.random.randint(least, most))

    def file(self, name: str, content: Optional[bytes] = None) -> pathlib.Path:
        path = self.local / name
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        return path


def await_content(running: subprocess.Popen) -> None:
    """Waits until a program has written content to a file, or from one to a socket, or has ended, or for some seconds."""
    end = time.monotonic() + STARTED
    while running.poll() is None and time.monotonic() < end:
        try:
            # What is sent to a socket from memory, such as commands, does not count there.
            written = re.search(r"^wchar: (\d+)", pathlib.Path(f"/proc/{running.pid}/io").read_text(), re.M)
        except OSError:
            # It has just ended.
            return
        if written and int(written[1]) >= CONTENT:
            return
        time.sleep(0.001)


def store(session, name: str, content: bytes, verb: str = "STOR") -> str:
    """Stores a file without our client, and returns the last reply."""
    session.say("TYPE I")
    data = session.begin(f"{verb} {name}")
    data.sendall(content)
    data.close()
    return session.reply()


def resume_of_another_file(scene: Scene) -> Optional[str]:
    """A partial download is not completed by the rest of another file of the same length."""
    # The second server has no digests, which would reveal a mixture afterwards.
    return changed_download(scene, scene.ours()) or changed_download(scene, worlds.world())


def changed_download(scene: Scene, server: peers.Server) -> Optional[str]:
    with server:
        old = scene.bytes()
        (server.root / "f").write_bytes(old)
        target = scene.file("f")
        with Proxy(server.port, Plan("error", len(old) // 2, 0, b"RETR")) as proxy:
            code, said = scene.client(server, "get", "-c", "{url}/f", str(target), proxy=proxy)
            if code == 0:
                return f"the broken download ended with 0: {said!r}"
            part = target.with_name("f.part")
            if not part.exists() or part.read_bytes() != old[: len(old) // 2]:
                return "the received part was not kept"
            new = scene.random.randbytes(len(old))
            (server.root / "f").write_bytes(new)
            later = time.time() + 5
            os.utime(server.root / "f", (later, later))
            # Another port would be another server.
            code, said = scene.client(server, "get", "-c", "{url}/f", str(target), proxy=proxy)
        if code or target.read_bytes() != new:
            return f"{server.name}: the file was mixed, or exit {code}: {said!r}"
    return None


def listing_that_is_not_confirmed(scene: Scene) -> Optional[str]:
    """A listing whose end the server did not confirm is not a success."""
    with scene.ours() as server:
        for number in range(300):
            (server.root / f"file-{number:03}").touch()
        for option in ("mlsd", "list", "nlst"):
            for kind in ("error", "lost control", "reset"):
                with Proxy(server.port, Plan(kind, scene.random.randint(1, 2_000))) as proxy:
                    code, _ = scene.client(server, "ls", "--listing", option, "{url}/", proxy=proxy)
                    if code == 0:
                        return f"ls --listing {option} ended with 0 after {kind}"
    return None


def names_with_a_dot(scene: Scene) -> Optional[str]:
    """Names that begin with a dot are listed, by every command, and mirrored."""
    with scene.ours() as server:
        for name in (".dot", "plain"):
            (server.root / name).write_bytes(b"x")
        for option in ("mlsd", "list", "nlst"):
            code, said = scene.client(server, "ls", "-a", "--listing", option, "{url}/")
            if code or sorted(said.split()) != [b".dot", b"plain"]:
                return f"ls --listing {option}: exit {code}, {said!r}"
        mirror = scene.local / "mirror"
        code, said = scene.client(server, "mirror", "{url}/", str(mirror))
        names = sorted(os.listdir(mirror)) if mirror.exists() else []
        if code or names != [".dot", "plain"]:
            return f"mirror: exit {code}, {names}, {said!r}"
    return None


def copy_that_cannot_begin(scene: Scene) -> Optional[str]:
    """A server-to-server copy of a missing file, or of a file to itself, does not change the target."""
    for kind in peers.all_servers(scene.program, scene.password):
        if kind.name not in ("ours", "vsftpd", "ProFTPD", "pyftpdlib"):
            continue
        with peers.Server(kind, tls=False) as server:
            # Larger than the buffers of a connection.
            up, content = server.root / "up", scene.random.randbytes(12 << 20)
            up.mkdir()
            up.chmod(0o777)
            (up / "f").write_bytes(content)
            (up / "f").chmod(0o666)
            url = f"ftp://{server.user.replace('@', '%40')}@127.0.0.1:{server.port}/up"
            word = scene.file("passwords", f"{server.password}\n{server.password}\n".encode())
            word.chmod(0o600)
            for source in ("missing", "f"):
                for side in ("target", "source"):
                    words = ["fxp", "--listen", side, "--password-file", str(word), f"{url}/{source}", f"{url}/f"]
                    code, said = scene.client(server, *words)
                    if code == 0 and source == "missing":
                        return f"{kind.name}: fxp of a missing file, --listen {side}, ended with 0: {said!r}"
                    if (up / "f").read_bytes() != content:
                        held = len((up / "f").read_bytes())
                        return f"{kind.name}: fxp {source} f, --listen {side}: exit {code}, {held} bytes left: {said!r}"
            word.unlink()
    return None


def mirror_of_a_lying_server(scene: Scene) -> Optional[str]:
    """Neither a mirror nor a single upload or download trusts a 226 for a file that arrived incomplete."""
    with scene.ours() as server:
        content = scene.bytes()
        top = scene.local / "up-tree"
        top.mkdir(exist_ok=True)
        (top / "f").write_bytes(content)
        for words, verb in (
            (["mirror", str(top), "{url}/tree"], b"STOR"),
            (["put", str(top / "f"), "{url}/one"], b"STOR"),
            (["get", "{url}/down/whole", str(scene.local / "down")], b"RETR"),
            (["mirror", "{url}/down", str(scene.local / "down-tree")], b"RETR"),
        ):
            (server.root / "down").mkdir(exist_ok=True)
            (server.root / "down/whole").write_bytes(content)
            with Proxy(server.port, Plan("swallow", scene.random.randint(0, len(content) - 1), 0, verb)) as proxy:
                code, said = scene.client(server, *words, proxy=proxy)
                if proxy.struck is None:
                    return f"{words[0]}: nothing was swallowed: exit {code}, {said!r}"
                if code == 0:
                    return f"{words} ended with 0, although {verb.decode()} lost a part"
    return None


def stale_part(scene: Scene) -> Optional[str]:
    """A partial upload is removed once another file has been stored under its name."""
    with scene.ours() as server:
        session = server.session()
        session.say("TYPE I")
        data = session.begin("STOR f")
        data.sendall(scene.bytes())
        time.sleep(0.2)
        reset(data)
        session.close()
        end = time.monotonic() + SOON
        second = server.session()
        second.say("TYPE I")
        while not second.say("SIZE f").startswith("213"):
            if time.monotonic() > end:
                # Without a partial upload, this promise cannot be tested.
                return "no partial upload was kept"
            time.sleep(0.05)
        new = scene.bytes()
        if not store(second, "f", new).startswith("226"):
            return "the second upload failed"
        # Not by DELE or RNTO, which would also remove a partial upload.
        (server.root / "f").unlink()
        said = second.say("SIZE f")
        if not said.startswith("550"):
            return f"after another file was stored and removed, SIZE gives {said}"
        if not store(second, "f", new, "APPE").startswith("226") or (server.root / "f").read_bytes() != new:
            return "an append to the missing file is not the file"
    return None


def quota_never_falls(scene: Scene) -> Optional[str]:
    """The count of a quota is never below the bytes on disk."""
    config, root = scene.local / "quota.toml", scene.local / "quota"
    root.mkdir(exist_ok=True)
    hashed = subprocess.run(
        ["openssl", "passwd", "-5", "-stdin"], input=scene.password, capture_output=True, text=True, check=True
    ).stdout.strip()

    def command(server: peers.Server) -> list[str]:
        config.write_text(
            f'[listen]\naddresses = ["127.0.0.1:{server.port}"]\n[users.user]\npassword = "{hashed}"\n'
            f'root = "{root}"\nrights = "full"\nquota = "1 GiB"\n'
        )
        return [scene.program, "serve", "--config", str(config)]

    def used() -> int:
        paths = list(root.rglob("*"))
        return sum(COST if path.is_dir() or not path.stat().st_size else path.stat().st_size for path in paths)

    names = ["a", "b", "c", "d"]
    with peers.Server(peers.Kind("ours", scene.program, command, password=scene.password), tls=False) as server:
        session = server.session()
        for _ in range(60):
            name, to = scene.random.sample(names, 2)
            turn = scene.random.choice(["STOR", "APPE", "DELE", "RNTO", "MKD", "RMD"])
            if turn in ("STOR", "APPE"):
                store(session, name, scene.random.randbytes(scene.random.choice([0, 1, 5_000, 50_000])), turn)
            elif turn == "RNTO":
                if session.say(f"RNFR {name}").startswith("350"):
                    session.say(f"RNTO {to}")
            else:
                session.say(f"{turn} {'dir' if turn in ('MKD', 'RMD') else name}")
            lines = site_lines(session, "SITE QUOTA")
            count = next((int(found[1]) for line in lines if (found := re.match(r" Bytes: (\d+) of", line))), None)
            if count is None or count < used():
                return f"after {turn} {name} {to} the count is {count}, and {used()} bytes are used: {lines}"
    return None


def site_lines(session, command: str) -> list[str]:
    """Sends a command, and returns all lines of its reply."""
    session.socket.sendall(command.encode() + b"\r\n")
    lines = [session.lines.readline().decode()]
    while not re.match(r"\d\d\d ", lines[-1]):
        lines.append(session.lines.readline().decode())
    return lines


def deadlines(scene: Scene) -> Optional[str]:
    """A server that falls silent at any point blocks a client only until a timeout."""
    # The server itself must not end the session first.
    with scene.ours("timeouts.idle=5 min", "timeouts.stall=5 min") as server:
        content = scene.bytes()
        (server.root / "f").write_bytes(content)
        up, down = scene.file("up", content), scene.file("down")
        jobs = {
            "get": ["get", "{url}/f", str(down)],
            "put": ["put", str(up), "{url}/g"],
            "ls": ["ls", "{url}/"],
            "mv": ["mv", "{url}/f", "f2"],
            "rm": ["rm", "{url}/f2"],
        }
        moments = b"USER PASS TYPE EPSV RETR STOR MLSD RNFR RNTO DELE SIZE".split()
        # In the first case of each job, the server does not even send a greeting.
        cases = [(name, moment, Plan()) for name in jobs for moment in (b"", *moments)]
        plans = [Plan(kind, at) for kind in ("stall", "mute") for at in (0, 90)]
        cases += [(name, None, plan) for name in ("get", "put", "ls") for plan in plans]
        for name, moment, plan in cases:
            with Proxy(server.port, plan, moment) as proxy:
                code, said = scene.client(server, *jobs[name], proxy=proxy)
                if code == programs.KILLED:
                    return f"{name} still ran after {LONGEST:.0f} s; silence after {moment!r}, {plan}"
                sent = b"".join(proxy.lines)
            if code == 0 and plan.kind == "stall" and name != "ls":
                return f"{name} ended with 0 after {plan}"
            if code == 0 and moment and moment in sent and moment not in (b"SIZE", b"TYPE"):
                return f"{name} ended with 0, and nothing answered {moment.decode()}: {said!r}"
    return None


def renames(scene: Scene) -> Optional[str]:
    """After the 250 to a rename, the new name has the content, and the old name is gone."""
    with scene.ours() as server:
        session = server.session()
        for old in (None, scene.bytes()):
            content = scene.bytes()
            (server.root / "a").write_bytes(content)
            if old:
                (server.root / "b").write_bytes(old)
            session.expect("RNFR a", "350")
            session.expect("RNTO b", "250")
            if (server.root / "a").exists() or (server.root / "b").read_bytes() != content:
                return f"250, but the names are {sorted(os.listdir(server.root))}"
    return None


def offsets(scene: Scene) -> Optional[str]:
    """After REST n, a download has exactly the bytes from n on, and an upload begins exactly there."""
    with scene.ours() as server:
        session, content = server.session(), scene.bytes()
        (server.root / "f").write_bytes(content)
        session.say("TYPE I")
        for n in [0, 1, len(content), *(scene.random.randint(2, len(content) - 1) for _ in range(6))]:
            session.expect(f"REST {n}", "350")
            data, got = session.begin("RETR f"), b""
            while block := data.recv(65_536):
                got += block
            session.reply()
            if got != content[n:]:
                return f"RETR after REST {n} of {len(content)} gave {len(got)} bytes, not the rest"
            new = scene.bytes(10, 1_000)
            (server.root / "g").write_bytes(content)
            session.expect(f"REST {n}", "350")
            said = store(session, "g", new)
            if not said.startswith("226") or (server.root / "g").read_bytes() != content[:n] + new:
                return f"STOR after REST {n}: {said}, and the file is another one"
            target = scene.file("part", content[:n])
            code, said = scene.client(server, "get", "-c", "{url}/f", str(target))
            if code or target.read_bytes() != content:
                return f"get -c of a file with {n} bytes: exit {code}: {said!r}"
    return None


def sizes_of_blocks(scene: Scene) -> Optional[str]:
    """Files as long as blocks and buffers, and those with a byte less or more, arrive whole in both directions."""
    sizes = sorted({size + more for size in (0, *(1 << power for power in range(9, 21))) for more in (-1, 0, 1)} - {-1})
    files = {f"{size}": scene.random.randbytes(size) for size in sizes}
    up, down = scene.local / "up", scene.local / "down"
    up.mkdir()
    for name, content in files.items():
        (up / name).write_bytes(content)
    with scene.ours() as server:
        for words, there in ((["mirror", str(up), "{url}/t"], server.root / "t"), (["mirror", "{url}/t", str(down)], down)):
            code, said = scene.client(server, *words)
            wrong = [name for name in files if worlds.held(there / name) != files[name]]
            if code or wrong:
                return f"{words[1:]}: exit {code}, not whole: {wrong}: {said!r}"
    return None


def syncs(scene: Scene) -> Optional[str]:
    """Before 226 or 250, the content is synced, then the file gets its name, then the directory is synced."""
    with scene.ours() as server:
        trace = scene.local / "trace"
        calls = "trace=fdatasync,fsync,linkat,renameat,renameat2,sendto,write,sendmsg"
        command = ["strace", "-f", "-y", "-s", "64", "-e", calls, "-o", str(trace), "-p", str(server.pid)]
        strace = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            strace.stderr.readline()
            session = server.session()
            store(session, "new", scene.bytes())
            store(session, "new", scene.bytes())
            session.expect("RNFR new", "350")
            session.expect("RNTO other", "250")
        finally:
            strace.terminate()
            strace.wait()
        text = trace.read_text(errors="replace")
        trace.unlink()
    parts = re.split(r'"(150|226|350|250)[ -]', text)
    # The system calls between two replies.
    between = [((parts[at], parts[at + 2]), parts[at + 1]) for at in range(1, len(parts) - 2, 2)]
    between = [(pair, calls) for pair, calls in between if pair in (("150", "226"), ("350", "250"))]
    if len(between) != 3:
        return f"there must be two uploads and a rename: {[pair for pair, _ in between]}"
    for pair, calls in between:
        # The record of an upload is synced too.
        found = re.findall(r"\b(fdatasync|fsync|linkat|renameat2?)\(([^,>)]*)", calls)
        calls_made = [name for name, file in found if RECORD not in file]
        named = next((at for at, name in enumerate(calls_made) if name.startswith(("link", "rename"))), None)
        if named is None:
            return f"between {pair[0]} and {pair[1]} nothing got a name: {calls_made}"
        if pair[0] == "150" and not any(name.startswith("f") for name in calls_made[:named]):
            return f"the content was not synced before its name: {calls_made}"
        if not any(name.startswith("f") for name in calls_made[named:]):
            return f"the directory was not synced before {pair[1]}: {calls_made}"
    return None


def secrets_stay(scene: Scene) -> Optional[str]:
    """Neither the client's output, even with --trace, nor the server's log contains a password."""
    with scene.ours() as server:
        (server.root / "f").write_bytes(b"x")
        for words in (["get", "--trace", "-v"], ["get", "--json", "--trace"], ["ls", "--trace"]):
            target = [str(scene.file("down"))] if words[0] == "get" else []
            code, said = scene.client(server, *words, "{url}/f" if target else "{url}/", *target)
            if code or scene.password.encode() in said or b"PASS" not in said:
                return f"{words}: exit {code}: {said!r}"
        if scene.password in (server.place / "log").read_text(errors="replace"):
            return "the log of the server has the password"
    return None


WORLDS = [*worlds.ALL, *odd_hosts.ALL, *actors.ALL, *storms.ALL]
ALL: list[Callable[[Scene], Optional[str]]] = [
    resume_of_another_file, listing_that_is_not_confirmed, names_with_a_dot, copy_that_cannot_begin,
    mirror_of_a_lying_server, stale_part, quota_never_falls, renames, offsets, sizes_of_blocks, syncs,
    secrets_stay, *WORLDS, deadlines,
]  # fmt: skip


def check_worlds(program: str, place: Place, seed: int, stops: bool, names: list[str], rounds: int) -> Findings:
    """Tests the promises with these names once; by default those of worlds that are not tame. Storms have rounds."""
    unknown = set(names) - {promise.__name__ for promise in ALL}
    if unknown:
        raise Unavailable(f"no such promise: {', '.join(sorted(unknown))}")
    findings, stands = Findings("worlds", stops), machines.Machines()
    chance = random.Random(f"{seed}/worlds")
    check_all(program, place, chance, stands, findings, names or [one.__name__ for one in WORLDS], rounds)
    stands.check(findings)
    return findings


def check_all(
    program: str, place: Place, chance: random.Random, stands: machines.Machines, findings: Findings,
    names: list[str] = (), rounds: int = ROUNDS,
) -> None:
    """Tests each promise once, or those with these names."""
    for promise in [promise for promise in ALL if not names or promise.__name__ in names]:
        if findings.is_over():
            return
        for again in range(TRIES, 0, -1):
            clean(place.local)
            begin = time.monotonic()
            scene = Scene(program, place, chance, stands)
            scene.rounds = rounds
            try:
                problem = promise(scene)
            except OSError as error:
                problem = f"{type(error).__name__}: {error}"
            paused = programs.WITNESS.paused(begin)
            if not problem or not paused or again == 1:
                break
            why = f"the machine stood still for {paused:.1f} s"
            findings.excuse("pause", f"{promise.__name__} is repeated: {problem}; {why}")
        findings.count(promise.__name__)
        where = f"client on {scene.client_on.name}, server on {scene.server_on.name}"
        say(f"{promise.__name__}: {time.monotonic() - begin:.1f} s, {where}")
        if problem:
            findings.add(f"{promise.__name__}: {problem}; {where}")
    clean(place.local)


def clean(top: pathlib.Path) -> None:
    for path in sorted(top.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
