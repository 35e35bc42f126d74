"""Promises that show only in a world that is not tame: a function for each. See world_server.py for the worlds."""

import itertools
import os
import pathlib
import re
import shutil
import threading
import time
import unicodedata
from typing import TYPE_CHECKING, Callable, Optional

import peers
import programs
from model import describe
from proxy import Plan, Proxy, reset

if TYPE_CHECKING:
    from promises import Scene

# Pairs of names that a world takes for one, by its fold.
PAIRS = {
    "case": [("Read me", "read ME"), ("STRASSE", "straße")],
    "normal": [(unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café"))],
    "dots": [("report", "report."), ("a.txt", "a.txt ")],
    "cut": [("12345678-one", "12345678-two")],
}
# Bytes at the end of a partial file that a resume compares.
TAIL = 65_536
# Seconds within which our server must notice that a client has gone.
SOON = 15.0


def world(**switches) -> peers.Server:
    return peers.Server(peers.world(**switches), tls=False)


def contents(top: pathlib.Path) -> list[bytes]:
    return [path.read_bytes() for path in top.rglob("*") if path.is_file()]


def held(path: pathlib.Path) -> Optional[bytes]:
    """Returns the content of a file; None if there is none."""
    return path.read_bytes() if path.is_file() else None


def tree(scene: "Scene", name: str, files: dict[str, bytes]) -> pathlib.Path:
    """Makes a local directory with these files."""
    top = scene.local / name
    for path, content in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(content)
    return top


def remove(top: pathlib.Path) -> None:
    """Removes a directory. FUSE keeps a hidden name for a removed file as long as a session has it open."""
    for _ in range(100):
        shutil.rmtree(top, ignore_errors=True)
        if not top.exists():
            return
        time.sleep(0.05)
    raise OSError(f"cannot remove {sorted(os.listdir(top))}")


def names_that_are_one(scene: "Scene") -> Optional[str]:
    """A move loses no content where the target takes two names for one, and exit 0 means that all are there. A copy
    does not notice names that are cut: it lists nothing again."""
    move = "--remove-source"
    for fold, pairs in PAIRS.items():
        for options in ([move], [move, "--temp"], [move, "-j", "4"], *([[]] if fold != "cut" else [])):
            with world(fold=fold) as server:
                # Files of one size and time: nothing but their names and bytes tells them apart.
                names = [f"{part}/{name}" for part, pair in enumerate(pairs) for name in pair]
                files = {name: scene.random.randbytes(1_000) for name in names}
                top = tree(scene, f"names {fold} {options}", files)
                for name in names:
                    os.utime(top / name, (1_700_000_000, 1_700_000_000))
                code, said = scene.client(server, "mirror", *options, str(top), "{url}/")
                there = contents(server.root)
                lost = [name for name, content in files.items() if content not in there + contents(top)]
                if lost:
                    return f"{fold} {options}: exit {code}, and nobody has {lost}: {said!r}"
                if code == 0 and any(content not in there for content in files.values()):
                    return f"{fold} {options}: exit 0, and the target lacks a file: {said!r}"
    return None


def another_spelling_is_no_extra(scene: "Scene") -> Optional[str]:
    """A mirror with deletions does not delete the file that it stores, if the target has it in another spelling."""
    for fold, leaves_out in itertools.product(("case", "normal", "dots"), (False, True)):
        for one, other in PAIRS[fold]:
            with world(fold=fold) as server:
                old, new = scene.bytes(10, 5_000), scene.bytes(5_001, 9_000)
                (server.root / one).write_bytes(old)
                top = tree(scene, f"spelling {fold} {one} {leaves_out}", {other: new})
                # What the run leaves out stays as well.
                options = ["--max-size", "5000"] if leaves_out else []
                code, said = scene.client(server, "mirror", "--delete", *options, str(top), "{url}/")
                found, wanted = contents(server.root), [old] if leaves_out else [new]
                if not found or code == 0 and found != wanted or leaves_out and found != wanted:
                    return f"{fold} {one!r} {other!r} {options}: exit {code}, left {len(found)} files: {said!r}"
    return None


def sources_in_targets(scene: "Scene") -> Optional[str]:
    """A mirror whose source lies in its target, on a server on this computer, does not delete its source."""
    for is_up in (True, False):
        with scene.ours() as server:
            files = {"a": scene.bytes(10, 5_000), "b/c": scene.bytes(10, 5_000)}
            for path, content in files.items():
                (server.root / "www/build" / path).parent.mkdir(parents=True, exist_ok=True)
                (server.root / "www/build" / path).write_bytes(content)
            here = server.root / "www"
            ends = [str(here / "build"), "{url}/www"] if is_up else ["{url}/www/build", str(here)]
            code, said = scene.client(server, "mirror", "--delete", *ends)
            lost = [path for path, content in files.items() if held(here / "build" / path) != content]
            if lost:
                return f"{'up' if is_up else 'down'}: exit {code}, the sources {lost} are gone: {said!r}"
    return None


def names_that_fold_alike(scene: "Scene") -> Optional[str]:
    """Thousands of names that differ only in their case are mirrored before the time limit of a run."""
    names = ["".join(one) for one in itertools.product(*zip("abcdefghijk", "ABCDEFGHIJK"))]
    with scene.ours() as server:
        (server.root / "t").mkdir()
        for name in names:
            (server.root / "t" / name).touch()
        target = scene.local / "alike"
        code, said = scene.client(server, "mirror", "{url}/t", str(target))
        if code or sorted(os.listdir(target)) != sorted(names):
            return f"exit {code}, not all of {len(names)} names: {said[-1000:]!r}"
    return None


def times_to_come(scene: "Scene") -> Optional[str]:
    """On a server that sets no times, a file from a clock that was fast does not hide a change."""
    for ahead in (86_400, 300 * 86_400):
        with world(lacks=["MFMT", "MLSD", "MLST"]) as server:
            (server.root / "t").mkdir()
            (server.root / "t/f").write_bytes(scene.bytes(1_000, 1_000))
            os.utime(server.root / "t/f", (time.time() + ahead,) * 2)
            top = tree(scene, f"to come {ahead}", {"f": scene.bytes(1_000, 1_000)})
            code, said = scene.client(server, "mirror", str(top), "{url}/t")
            if code == 0 and held(server.root / "t/f") != held(top / "f"):
                return f"{ahead} s ahead: exit 0, and the target has the old content: {said!r}"
    return None


def files_of_the_run(scene: "Scene") -> Optional[str]:
    """A mirror neither deletes the log of its own run, nor publishes the file with its password."""
    with scene.ours() as server:
        (server.root / "t").mkdir()
        (server.root / "t/f").write_bytes(b"content")
        top = tree(scene, "own", {"f": b"content"})
        code, said = scene.client(server, "mirror", "--delete", "--log-file", str(top / "log"), "{url}/t", str(top))
        if code or not (top / "log").exists():
            return f"mirror --delete --log-file in DST: exit {code}, and the log is gone: {said!r}"
        word = top / "word"
        word.write_text(server.password + "\n")
        word.chmod(0o600)
        code, said = scene.client(server, "mirror", "--password-file", str(word), str(top), "{url}/t")
        if held(server.root / "t/word") is not None:
            return f"mirror --password-file in SRC: exit {code}, and the password is published: {said!r}"
    return None


def late_replies(scene: "Scene") -> Optional[str]:
    """A second, late success after a transfer does not pass for the success of a later command."""
    for check, late in itertools.product(("none", "size"), (0, 0.01, None)):
        for lines in (["cd missing", "rm b"], ["rm a", "cd missing", "rm b"], ["cd sub", "cd missing", "rm b"]):
            with world(late=late) as server:
                (server.root / "sub").mkdir()
                content = scene.bytes(10, 1_000)
                for name in ("a", "b", "sub/b"):
                    (server.root / name).write_bytes(content)
                up = scene.file("up", content)
                script = scene.file("script", "\n".join([f"put {up} one", *lines]).encode())
                code, said = scene.client(server, "batch", "--verify", check, "{url}/", str(script))
                left = [name for name in ("b", "sub/b") if (server.root / name).exists()]
                if left != ["b", "sub/b"]:
                    return f"{lines} --verify {check}: exit {code}, and only {left} is left: {said!r}"
    return None


def input_that_is_read_once(scene: "Scene") -> Optional[str]:
    """Standard input is not stored a second time, when it is empty: exit 0 means that all of it is there."""
    for fails in ({"RNTO": ["450 Not now"]}, {"STOR": ["426 Not now"]}, {"SIZE": ["450 Not now"] * 9}):
        for options in ([], ["--temp"]):
            with world(fails=fails) as server:
                content = scene.bytes(1_000, 60_000)
                words = ["put", "--retry", "3", "--retry-delay", "0s", *options, "-", "{url}/f"]
                code, said = scene.client(server, *words, given=content)
                if code == 0 and held(server.root / "f") != content:
                    return f"{fails} {options}: exit 0, and {describe(held(server.root / 'f'))}: {said!r}"
    return None


def uploads_of_others(scene: "Scene") -> Optional[str]:
    """put -c does not go on with bytes that another host has stored."""
    for first in (False, True):
        with world() as server:
            content, target = scene.bytes(200_000, 300_000), server.root / "f"
            up = scene.file("up", content)
            old = time.time() - 100
            os.utime(up, (old, old))
            # Another port would be another server.
            with Proxy(server.port, Plan("reset", 100_000, 0, b"STOR") if first else Plan()) as proxy:
                if first:
                    scene.client(server, "put", "-c", str(up), "{url}/f", proxy=proxy)
                for length in (150_000, len(content)):
                    # Images and archives can end alike. But after an own upload, a shorter file with the same end counts
                    # as its bytes: the journal says only that as many bytes were sent.
                    end = 0 if first and length < len(content) else TAIL
                    target.write_bytes(scene.random.randbytes(length - end) + content[length - end : length])
                    code, said = scene.client(server, "put", "-c", str(up), "{url}/f", proxy=proxy)
                    if code == 0 and target.read_bytes() != content:
                        return f"{length} bytes of another host, after an own upload {first}: exit 0, mixed: {said!r}"
    return None


def parts_of_others(scene: "Scene") -> Optional[str]:
    """A file NAME.part that is not ours is neither completed nor changed by a download of NAME."""
    with scene.ours() as server:
        for words in (["get"], ["get", "-c"], ["mirror"], ["get", "--segments", "4"]):
            content, foreign = scene.bytes(2 << 20, 3 << 20), scene.random.randbytes(1 << 20)
            (server.root / "d").mkdir(exist_ok=True)
            (server.root / "d/f").write_bytes(content)
            top = tree(scene, f"parts {words}", {"f.part": foreign})
            paths = ["{url}/d", str(top)] if words[0] == "mirror" else ["{url}/d/f", str(top / "f")]
            code, said = scene.client(server, *words, *paths)
            if held(top / "f.part") != foreign:
                return f"{words}: exit {code}, and the foreign f.part was changed: {said!r}"
            if code == 0 and held(top / "f") != content:
                return f"{words}: exit 0, and f is another file: {said!r}"
    return None


def deletions_after_a_failure(scene: "Scene") -> Optional[str]:
    """A mirror deletes nothing if it could not read a directory of the source."""
    with world(sealed=["in"]) as server:
        for path in ("a", "in/b", "out/c"):
            (server.root / path).parent.mkdir(exist_ok=True)
            (server.root / path).write_bytes(scene.bytes(10, 1_000))
        extras = {path: scene.bytes(10, 1_000) for path in ("in/b", "out/extra", "extra")}
        for options in ([], ["-j", "3"]):
            top = tree(scene, f"deletions {options[:1]}", extras)
            code, said = scene.client(server, "mirror", "--delete", *options, "{url}/", str(top))
            gone = [path for path, content in extras.items() if held(top / path) != content]
            if code == 0 or gone:
                return f"mirror --delete {options}: exit {code}, gone or changed {gone}: {said!r}"
    return None


def second_runs(scene: "Scene") -> Optional[str]:
    """Whatever commands a server lacks, a second mirror finds everything unchanged, and a changed file is found."""
    worlds = [[], ["MFMT"], ["MLSD", "MLST"], ["MLSD", "MLST", "MFMT"], ["SIZE"], ["MDTM"], ["MDTM", "SIZE", "MFMT"]]
    files = {f"d{number % 3}/f {number}": scene.bytes(10, 5_000) for number in range(9)}
    tops = [tree(scene, f"second {lacks}", files) for lacks in worlds]
    old = time.time() - 400_000
    for top, path in itertools.product(tops, files):
        os.utime(top / path, (old, old))
    # Where times cannot be set, a file is unchanged if it was stored after its source came: not in the same second.
    time.sleep(2.1)
    for top, lacks in zip(tops, worlds):
        with world(lacks=lacks) as server:
            down = scene.local / f"down {lacks}"
            for words in (["mirror", str(top), "{url}/t"], ["mirror", "{url}/t", str(down)]):
                code, said = scene.client(server, *words)
                if code or sorted(contents(server.root if words[1] == str(top) else down)) != sorted(files.values()):
                    return f"without {lacks}: {words[1:]} first: exit {code}: {said!r}"
                code, said = scene.client(server, *words)
                # Without any time of the server, mirror says that it copies recent files again.
                if code or b"0 files copied" not in said and b"the server's clock is unknown" not in said:
                    return f"without {lacks}: {words[1:]} again: exit {code}: {said!r}"
            changed = next(iter(files))
            (top / changed).write_bytes(b"changed")
            code, said = scene.client(server, "mirror", str(top), "{url}/t")
            if code or held(server.root / "t" / changed) != b"changed":
                return f"without {lacks}: a changed file was not copied: exit {code}: {said!r}"
    return None


def lost_replies(scene: "Scene") -> Optional[str]:
    """With --retry, a change whose reply was lost counts as done only if that is proved; mkdir never does."""
    retry = ["--retry", "2", "--retry-delay", "0s"]
    with world(loses=["MKD", "DELE", "RNTO"]) as server:
        content = scene.bytes(10, 1_000)
        (server.root / "f").write_bytes(content)
        (server.root / "g").write_bytes(content)
        code, said = scene.client(server, "mkdir", *retry, "{url}/lock")
        if code == 0 or not (server.root / "lock").is_dir():
            return f"mkdir of a lock that may have two owners: exit {code}: {said!r}"
        code, said = scene.client(server, "rm", *retry, "{url}/g")
        if code or (server.root / "g").exists():
            return f"rm: exit {code}: {said!r}"
        code, said = scene.client(server, "mv", *retry, "{url}/f", "h")
        if (server.root / "f").exists() or held(server.root / "h") != content:
            return f"mv: exit {code}, and the file is lost: {said!r}"
    return None


def cut_upload(server: peers.Server, name: str, content: bytes) -> None:
    """Begins an upload, and loses the connection after half of it. Returns once the server has noticed that."""
    session = server.session()
    session.say("TYPE I")
    data = session.begin(f"STOR {name}")
    data.sendall(content[: len(content) // 2])
    time.sleep(0.2)
    reset(data)
    session.close()
    end = time.monotonic() + SOON
    asking = server.session()
    asking.say("TYPE I")
    while asking.say(f"SIZE {name}").startswith("450") and time.monotonic() < end:
        time.sleep(0.1)
    asking.close()


def one_story(scene: "Scene") -> Optional[str]:
    """A session that was told that a file is missing hears that again, whatever is kept of its upload."""
    with scene.ours() as server:
        cut_upload(server, "f", scene.bytes())
        asking = server.session()
        asking.say("TYPE I")
        if not asking.say("SIZE f").startswith("213"):
            return "no partial upload was kept"
        for first in ("MDTM f", "MLST f"):
            told = server.session()
            told.say("TYPE I")
            said = [told.say(first), told.say("SIZE f")]
            if not all(reply.startswith("550") for reply in said):
                return f"{first}, SIZE f: {said}"
    return None


def upload_that_runs(scene: "Scene") -> Optional[str]:
    """While an upload runs, its user hears "later" from another session: from SIZE, and from what would continue it."""
    with scene.ours() as server:
        session, other = server.session(), server.session()
        session.say("TYPE I")
        other.say("TYPE I")
        data = session.begin("STOR f")
        data.sendall(scene.bytes())
        time.sleep(0.2)
        said = [other.say("SIZE f")]
        for command in ("APPE f", "STOR f"):
            if command == "STOR f":
                other.say("REST 1000")
            other.say("EPSV")
            said.append(other.say(command))
        data.close()
        if not all(reply.startswith("450") for reply in said):
            return f"SIZE, APPE, REST and STOR beside a running upload: {said}"
        return None if session.reply().startswith("226") else "the upload failed"


def sent_again(dialogue: list[str]) -> bool:
    """Returns whether a client sent a file from byte 0 although the server had told how many bytes of it were there."""
    lines = [line.split(" ", 1)[1] for line in dialogue]
    begin = next((at for at, line in enumerate(lines) if line.startswith(("> STOR", "> APPE"))), len(lines))
    commands = [line for line in lines[: begin + 1] if line.startswith("> ") and line != "> EPSV"]
    is_told = any(re.match(r"< 213 [1-9]\d*$", line) for line in lines[:begin])
    return is_told and commands[-1].startswith("> STOR") and not re.match("> REST [1-9]", commands[-2])


def uploads_that_are_resumed(scene: "Scene") -> Optional[str]:
    """put -c completes an upload that was cut, with exactly the bytes of its file, whether it is new or replaces another."""
    with scene.ours() as server:
        for old in (None, scene.bytes(1_000, 2_000)):
            content = scene.bytes(200_000, 300_000)
            up, target = scene.file("up", content), server.root / "f"
            target.unlink(missing_ok=True)
            if old:
                target.write_bytes(old)
            with Proxy(server.port, Plan("reset", len(content) // 2, 0, b"STOR")) as proxy:
                code, said = scene.client(server, "put", "-c", str(up), "{url}/f", proxy=proxy)
                if code == 0 or held(target) not in (old, content):
                    return f"put -c, old {old and len(old)}: exit {code}, {describe(held(target))}: {said!r}"
                words, begin = ["put", "-c", "--retry", "3", "--retry-delay", "1"], len(proxy.dialogue)
                code, said = scene.client(server, *words, str(up), "{url}/f", proxy=proxy)
            if code or held(target) != content:
                return f"put -c again, old {old and len(old)}: exit {code}, {describe(held(target))}: {said!r}"
            if sent_again(proxy.dialogue[begin:]):
                return f"put -c again, old {old and len(old)}, sent the whole file: {proxy.dialogue[begin:]}"
    return None


def resumers(scene: "Scene") -> Optional[str]:
    """Whatever a client goes by when it resumes an upload that was cut: if it reports success, the file is its file."""
    content = scene.bytes(200_000, 300_000)
    up = scene.file("up", content)
    half = len(content) // 2
    for old in (None, scene.bytes(1_000, 2_000)):
        for count in (half // 2, half - 1, half):
            with scene.ours() as server:
                url, login = f"ftp://127.0.0.1:{server.port}/f", f"{server.user}:{server.password}"
                host = ["-u", server.user, "-p", server.password, "-P", str(server.port), "127.0.0.1"]
                put = f"set net:max-retries 2; set net:reconnect-interval-base 0; put -c {up} -o f"
                for words in (
                    ["curl", "-sS", "-u", login, "-T", str(up), "-C", str(count), url],
                    ["curl", "-sS", "-u", login, "-T", str(up), "-C", "-", url],
                    ["lftp", "-p", str(server.port), "-u", login.replace(":", ","), "-e", f"{put}; bye", "127.0.0.1"],
                    ["ncftpput", "-z", *host, "/", str(up)],
                ):
                    if not shutil.which(words[0]):
                        continue
                    name = "up" if words[0] == "ncftpput" else "f"
                    (server.root / name).unlink(missing_ok=True)
                    if old:
                        (server.root / name).write_bytes(old)
                    cut_upload(server, name, content)
                    ended = programs.run(words, 60, {"HOME": str(scene.local)}, scene.local)
                    found = held(server.root / name)
                    if ended.code == 0 and found != content:
                        return f"{words[:1]} from {count}, old {old and len(old)}: exit 0, {describe(found)}: {ended.said!r}"
                    if ended.code and found not in (old, content):
                        return f"{words[:1]} from {count}: exit {ended.code}, and {describe(found)} is there: {ended.said!r}"
    return None


def watched_files(scene: "Scene") -> Optional[str]:
    """Whoever reads or moves a file as soon as it has its name gets a whole one, and the client has no failure."""
    with scene.ours() as server:
        inbox, done = server.root / "in", server.root.parent / "done"
        inbox.mkdir()
        done.mkdir()
        sent, seen, ended = [], [], threading.Event()

        def take() -> None:
            while not ended.is_set():
                for path in list(inbox.iterdir()):
                    if not path.name.startswith("."):
                        content = path.read_bytes()
                        path.rename(done / f"{len(seen)}")
                        seen.append(content)

        mover = threading.Thread(target=take)
        mover.start()
        try:
            for number in range(12):
                sent.append(scene.bytes(0, 2_000_000))
                options = scene.random.choice([[], ["--temp"], ["-c"], ["--verify", "none"]])
                code, said = scene.client(server, "put", *options, str(scene.file("up", sent[-1])), "{url}/in/f")
                if code:
                    return f"put {options} to a directory whose files are moved away: exit {code}: {said!r}"
                # The next upload would replace a file that a busy machine has not moved yet.
                limit = time.monotonic() + 20
                while len(seen) < len(sent) and time.monotonic() < limit:
                    time.sleep(0.01)
        finally:
            ended.set()
            mover.join()
        strange = [describe(one) for one in seen if one not in sent]
        if strange or len(seen) < len(sent):
            return f"{len(sent)} files were sent, {len(seen)} seen, of these not whole: {strange}"
        # A replaced file is the old or the new one at each moment.
        target, ended = server.root / "f", threading.Event()
        versions = [scene.bytes(500_000, 2_000_000) for _ in range(6)]
        target.write_bytes(versions[0])
        read: list[Optional[bytes]] = []

        def view() -> None:
            found = None
            while not ended.is_set():
                try:
                    found = target.read_bytes()
                except FileNotFoundError:
                    # FUSE gives another name to a file that is open, before it is replaced.
                    found = found if scene.disk else None
                if not read or read[-1] != found:
                    read.append(found)

        viewer = threading.Thread(target=view)
        viewer.start()
        try:
            for version in versions[1:]:
                code, said = scene.client(server, "put", str(scene.file("up", version)), "{url}/f")
                if code:
                    return f"put of a file that others read: exit {code}: {said!r}"
        finally:
            ended.set()
            viewer.join()
        strange = [describe(one) for one in read if one not in versions]
        return f"a reader saw neither the old nor the new file: {strange}" if strange else None


def killed_downloads(scene: "Scene") -> Optional[str]:
    """A download that is killed again and again, while the file changes, ends with the file of the server."""
    with scene.ours() as server:
        target, source = scene.local / "f", server.root / "f"
        for turn in range(4):
            target.unlink(missing_ok=True)
            size, now = scene.random.randint(1 << 20, 3 << 20), time.time() - 50_000
            for attempt in range(5):
                if attempt == 0 or scene.random.random() < 0.4:
                    source.write_bytes(scene.random.randbytes(size))
                    os.utime(source, (now + 10 * attempt,) * 2)
                words = ["get", "-c", "--limit-rate", "4M", "{url}/f", str(target)]
                scene.interrupt(server, *words, after=scene.random.uniform(0.02, 0.4))
            code, said = scene.client(server, "get", "-c", "{url}/f", str(target))
            if code or held(target) != source.read_bytes():
                return f"after five kills, get -c ends with {code}, and the file is another one: {said!r}"
    return None


def private_uploads(scene: "Scene") -> Optional[str]:
    """The upload that replaces a private file is private from its first byte on."""
    with scene.ours() as server:
        target = server.root / "f"
        target.write_bytes(b"old")
        target.chmod(0o600)
        session = server.session()
        session.say("TYPE I")
        data = session.begin("STOR f")
        data.sendall(scene.bytes())
        time.sleep(0.2)
        modes = {path.name: path.stat().st_mode & 0o077 for path in server.root.iterdir()}
        data.close()
        said = session.reply()
        if any(modes.values()) or len(modes) < 2:
            return f"others can read the upload of a private file: {modes}"
        if not said.startswith("226") or target.stat().st_mode & 0o777 != 0o600:
            return f"the private file has the mode {target.stat().st_mode:o} after {said}"
    return None


ALL: list[Callable[["Scene"], Optional[str]]] = [
    names_that_are_one, another_spelling_is_no_extra, sources_in_targets, names_that_fold_alike, times_to_come, files_of_the_run, late_replies, input_that_is_read_once, uploads_of_others,
    parts_of_others, deletions_after_a_failure, second_runs, lost_replies, one_story, upload_that_runs, private_uploads, resumers,
    uploads_that_are_resumed, watched_files, killed_downloads,
]  # fmt: skip
