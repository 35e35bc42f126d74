"""Promises about programs that are interrupted and users that replace each other: a function for each."""

import copy
import os
import pathlib
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Callable, Optional

import peers
from findings import say
from model import describe
from proxy import Plan, Proxy
from worlds import held, remove, sent_again, world

if TYPE_CHECKING:
    from promises import Scene

# How often a program is interrupted in one promise, and the most seconds until then.
KILLS, LONGEST = 6, 0.6
MANIFEST = ".ftp-cli-manifest.json"


def names(top: pathlib.Path) -> dict[str, bytes]:
    """Returns the files below a directory, without hidden ones."""
    paths = [path for path in top.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(top)): path.read_bytes() for path in paths}


def written(top: pathlib.Path, files: dict[str, bytes], when: float) -> None:
    """Makes a directory with these files, all of one time, as a checkout has them."""
    remove(top)
    for path, content in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(content)
        os.utime(top / path, (when, when))


def killed_deploys(scene: "Scene") -> Optional[str]:
    """A deploy that is killed at any moment leaves whole files and those of others; the next one completes it."""
    with scene.ours() as server:
        site, www = scene.local / "site", server.root / "www"
        www.mkdir()
        for path in ("theirs", "d0/theirs"):
            (www / path).parent.mkdir(exist_ok=True)
            (www / path).write_bytes(b"theirs")
        files = {f"d{number % 3}/f{number}": scene.bytes(50_000, 400_000) for number in range(9)}
        ever: dict[str, set[bytes]] = {}
        for turn in range(KILLS):
            changed, gone, moved, *_ = scene.random.sample(sorted(files), 4)
            # As many bytes as before: neither size nor time tells the versions apart.
            files[changed] = scene.random.randbytes(len(files[changed]))
            del files[gone]
            files[f"d{turn % 3}/moved {turn}"] = files.pop(moved)
            files[f"d{turn % 3}/new {turn}"] = scene.bytes(50_000, 400_000)
            for path, content in files.items():
                ever.setdefault(path, set()).add(content)
            written(site, files, 1_700_000_000 + turn)
            options = scene.random.choice([[], ["--temp"], ["-j", "3"]])
            words = ["mirror", "--manifest", "--delete", *options, str(site), "{url}/www"]
            slow = [words[0], "--limit-rate", "4M", *words[1:]]
            for _ in range(scene.random.randint(1, 3)):
                scene.interrupt(server, *slow, after=scene.random.uniform(0.02, LONGEST))
                there = names(www)
                if any(there.pop(path, None) != b"theirs" for path in ("theirs", "d0/theirs")):
                    return f"{words[1:-2]}, killed: a file of others is gone or another one"
                torn = [path for path, content in there.items() if content not in ever.get(path, ()) and ".part" not in path]
                if torn:
                    return f"{words[1:-2]}, killed: {torn} are no version that was ever deployed"
            code, said = scene.client(server, *words, "--retry", "5", "--retry-delay", "1")
            wanted = {**files, "theirs": b"theirs", "d0/theirs": b"theirs"}
            if code or names(www) != wanted:
                strange = sorted(path for path in {*names(www), *wanted} if names(www).get(path) != wanted.get(path))
                return f"{words[1:-2]} after a kill, turn {turn}: exit {code}, not as they must be: {strange}: {said!r}"
    return None


def killed_embedders(scene: "Scene") -> Optional[str]:
    """A program that embeds the client may be killed: its files are the old or the new ones, and its next run completes them."""
    program = pathlib.Path(scene.program).with_name("examples") / "files"
    if not program.exists():
        say(f"skipped: killed_embedders: no {program}; run cargo build -p ftp-toolkit-client --examples")
        return None
    # Slow enough to be interrupted.
    with scene.ours("transfer.rate_per_session=4 MiB") as server:
        url = f"ftp://{server.user}:{server.password}@{server.host}:{server.port}"
        tops = {"here": scene.local / "embedded", "there": server.root / "embedded"}
        for action in ("put", "get", "up", "down"):
            source, target = (tops["here"], tops["there"]) if action in ("put", "up") else (tops["there"], tops["here"])
            for top in tops.values():
                remove(top)
            files = ["f"] if action in ("put", "get") else ["a", "b/c", "b/d"]
            ever = {name: set() for name in files}
            tops["here"].mkdir(exist_ok=True)
            tops["there"].mkdir(exist_ok=True)
            more = "/f" if action in ("put", "get") else ""
            words = [str(program), action, f"{tops['here']}{more}", f"{url}/embedded{more}"]
            for turn in range(KILLS):
                for name in files:
                    if not turn or scene.random.random() < 0.4:
                        path = source / name
                        path.parent.mkdir(parents=True, exist_ok=True)
                        # Of one size, and seconds apart.
                        path.write_bytes(scene.random.randbytes(1 << 20))
                        os.utime(path, (1_700_000_000 + 10 * turn,) * 2)
                        ever[name].add(path.read_bytes())
                by = scene.random.choice([signal.SIGKILL, signal.SIGINT])
                scene.stop(words, scene.random.uniform(0.01, 0.3), by)
                torn = [name for name in files if held(target / name) not in (None, *ever[name])]
                if torn:
                    return f"files {action}, ended by {by.name}: {torn} are neither old nor new"
            for attempt in range(10):
                ran = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, cwd=scene.local, timeout=60)
                if ran.returncode == 0:
                    break
                # The server may still be busy with a connection of a program that was killed.
                time.sleep(1)
            other = [name for name in files if held(target / name) != held(source / name)]
            if ran.returncode or other:
                return f"files {action} after {KILLS} interruptions: exit {ran.returncode}, not the same: {other}: {ran.stderr!r}"
    return None


def two_users(scene: "Scene") -> peers.Kind:
    """Returns our server with two users of one directory."""

    def command(server: peers.Server) -> list[str]:
        users = [word for name in (server.user, "other") for word in ("-u", f"{name}:{server.password}")]
        plain = peers.ours(scene.program, scene.password, prefix=scene.server_on.prefix).command(server)
        at = plain.index("--user")
        return [*plain[:at], *users, *plain[at + 2 :]]

    return peers.Kind("ours", scene.program, command, password=scene.password)


def uploads_of_several(scene: "Scene") -> Optional[str]:
    """An upload that was cut is completed from another address, or after its file was edited or replaced; and never with
    the bytes of another user."""
    # The second server shows incomplete files, and has no digests that could reveal a mixture afterwards.
    return several(scene, peers.Server(two_users(scene), tls=False)) or several(scene, world())


def several(scene: "Scene", server: peers.Server) -> Optional[str]:
    is_ours = server.name == "ours"
    with server:
        other, target, up = copy.copy(server), server.root / "f", scene.local / "up"
        other.user = "other"
        for turn in range(8):
            kind = ("address", "user", "edited", "replaced")[turn % 4]
            if kind == "user" and not is_ours:
                continue
            target.unlink(missing_ok=True)
            # Ends alike, so that only the whole file shows the difference.
            end = scene.random.randbytes(70_000)
            files = [scene.random.randbytes(200_000) + end for _ in range(2)]
            up.write_bytes(files[0])
            with Proxy(server.port, Plan("reset", scene.random.randint(80_000, 250_000), 0, b"STOR")) as proxy:
                code, said = scene.client(server, "put", "-c", str(up), "{url}/f", proxy=proxy)
                if code == 0 or is_ours and target.exists():
                    return f"exit {code} after {proxy.struck}, or a part of the file is there: {said!r}"
                whom, options, wanted = server, [], files[0]
                if kind == "address":
                    options = ["--bind", "127.0.0.2"]
                elif kind == "user":
                    whom, wanted = other, files[1]
                    up.write_bytes(wanted)
                    session = other.session()
                    session.say("TYPE I")
                    told = session.say("SIZE f")
                    session.close()
                    if not told.startswith("550"):
                        return f"SIZE tells a user about the upload of another one: {told}"
                elif kind == "edited":
                    # In place, in its first part, and with the old time.
                    before, wanted = up.stat(), b"edited" + files[0][6:]
                    with open(up, "r+b") as file:
                        file.write(b"edited")
                    if turn > 4:
                        os.utime(up, ns=(before.st_atime_ns, before.st_mtime_ns))
                else:
                    wanted = files[1]
                    new = scene.file("new", wanted)
                    shutil.copystat(up, new)
                    new.rename(up)
                words, begin = ["put", "-c", "--retry", "3", "--retry-delay", "1", *options], len(proxy.dialogue)
                code, said = scene.client(whom, *words, str(up), "{url}/f", proxy=proxy)
            if code or held(target) != wanted:
                return f"{kind}, {server.name}, turn {turn}: exit {code}, {describe(held(target))}, must be {describe(wanted)}: {said!r}"
            if kind == "address" and sent_again(proxy.dialogue[begin:]):
                return f"another address of the client sent the whole file again: {proxy.dialogue[begin:]}"
            # The first user's upload is over, too.
            if kind == "user":
                up.write_bytes(files[0])
                code, said = scene.client(server, "put", "-c", str(up), "{url}/f")
                if code == 0 and held(target) != files[0] or code and held(target) not in (files[0], wanted):
                    return f"the first user, after another one: exit {code}, {describe(held(target))}: {said!r}"
    return None


ALL: list[Callable[["Scene"], Optional[str]]] = [killed_deploys, killed_embedders, uploads_of_several]
