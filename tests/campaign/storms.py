"""Promises about mirrors beside programs that save and edit files: a function for each. --rounds says how often."""

import contextlib
import os
import pathlib
import shutil
import threading
import time
from typing import TYPE_CHECKING, Iterator, Optional

import cuts
from worlds import held

if TYPE_CHECKING:
    from promises import Scene

# The disks whose listings can lack a name that is replaced by a rename.
DISKS = ["tmpfs", "btrfs"]
NAMES = [f"{number:02}" for number in range(58)]
CONTENT = b"content"


@contextlib.contextmanager
def saves(top: pathlib.Path) -> Iterator[None]:
    """Saves each file of a directory again and again: a new file that is renamed over the old one."""
    ended = threading.Event()

    def save() -> None:
        for name in NAMES:
            (top / f"{name}.new").write_bytes(CONTENT)
            (top / f"{name}.new").rename(top / name)

    def work() -> None:
        while not ended.is_set():
            save()

    save()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def listings_beside_saves(scene: "Scene") -> Optional[str]:
    """A listing has each name that exists at each moment, although programs replace the files."""
    with cuts.disks(DISKS) as each:
        for disk, root, _ in each:
            scene.disk = root
            with scene.ours() as server, saves(server.root), contextlib.closing(server.session()) as session:
                session.say("TYPE I")
                for turn in range(20 * scene.rounds):
                    data = session.begin("MLSD")
                    with data.makefile("rb") as lines:
                        shown = {line.decode().rstrip("\r\n").partition(" ")[2] for line in lines}
                    data.close()
                    said = session.reply()
                    if said.startswith("226") and (lost := sorted(set(NAMES) - shown)):
                        return f"{disk}, listing {turn}: 226, and {lost} are missing"
            scene.disk = None
            for path in root.iterdir():
                shutil.rmtree(path, ignore_errors=True)
    return None


def edits_within_a_second(scene: "Scene") -> Optional[str]:
    """A file that changes again within the second of its time is not called unchanged by the next mirror."""
    with scene.ours() as server:
        for turn in range(3 * scene.rounds):
            source = scene.local / f"edited {turn}"
            source.mkdir()
            (source / "f").write_bytes(scene.bytes(1_000, 1_000))
            ended = threading.Event()

            def edit() -> None:
                while not ended.wait(0.02):
                    (source / "f").write_bytes(scene.bytes(1_000, 1_000))

            editor = threading.Thread(target=edit)
            editor.start()
            first, _ = scene.client(server, "mirror", str(source), f"{{url}}/e{turn}")
            ended.set()
            editor.join()
            time.sleep(1.2)
            code, said = scene.client(server, "mirror", str(source), f"{{url}}/e{turn}")
            if code or held(server.root / f"e{turn}/f") != held(source / "f"):
                return f"turn {turn}: exit {first}, then {code}, and the target has another content: {said!r}"
    return None


def mirrors_beside_saves(scene: "Scene") -> Optional[str]:
    """A file that the source has at each moment is never deleted from the target, whatever a listing leaves out."""
    options = ["mirror", "--delete", "--size-only", "--exclude", "*.new", "-q"]
    with cuts.disks(DISKS) as each:
        for disk, root, _ in each:
            for form in ("auto", "list"):
                scene.disk = root
                with scene.ours() as server:
                    source = {True: root / "src", False: server.root / "src"}
                    target = {True: server.root / "up", False: root / "down"}
                    for up in (True, False):
                        source[up].mkdir(exist_ok=True)
                        target[up].mkdir(exist_ok=True)
                        for name in NAMES:
                            (target[up] / name).write_bytes(CONTENT)
                        ends = [str(source[up]), "{url}/up"] if up else ["{url}/src", str(target[up])]
                        with saves(source[up]):
                            for turn in range(scene.rounds):
                                code, said = scene.client(server, *options, "--listing", form, *ends)
                                lost = [name for name in NAMES if not (target[up] / name).exists()]
                                if lost or code not in (0, 12):
                                    where = f"{disk}, {form}, {'up' if up else 'down'}, run {turn}"
                                    return f"{where}: exit {code}, deleted {lost}: {said[-2000:]!r}"
                scene.disk = None
                for path in root.iterdir():
                    shutil.rmtree(path, ignore_errors=True)
    return None


def deploys_beside_edits(scene: "Scene") -> Optional[str]:
    """A deploy neither removes nor replaces what others edit between its plan and its removals, and tells of it."""
    deploy = ["mirror", "--manifest", "--delete"]
    with cuts.disks(DISKS) as each:
        for disk, root, _ in each:
            for form in ("auto", "list"):
                scene.disk = root
                with scene.ours() as server:
                    site, listed = root / "site", server.root / "www/.ftp-cli-manifest.json"
                    edits = 0
                    for turn in range(scene.rounds):
                        shutil.rmtree(site, ignore_errors=True)
                        shutil.rmtree(server.root / "www", ignore_errors=True)
                        (site / "sub").mkdir(parents=True)
                        for name in ("a", "b", "sub/c", "sub/d"):
                            (site / name).write_bytes(scene.bytes(10, 2_000))
                            os.utime(site / name, (1_700_000_000, 1_700_000_000))
                        words = [*deploy, "--listing", form, "--limit-rate", "1M", str(site), "{url}/www"]
                        code, said = scene.client(server, *words)
                        if code:
                            return f"{disk}, {form}: the first deploy ends with {code}: {said[-2000:]!r}"
                        first = listed.stat().st_ino
                        gone = scene.random.choice(("a", "sub/c"))
                        (site / gone).unlink()
                        # Its upload takes long enough for an edit.
                        (site / "large").write_bytes(scene.random.randbytes(400_000))
                        os.utime(site / "large", (1_700_000_000, 1_700_000_000))
                        edited = held(server.root / "www" / gone) + scene.bytes(1, 100)
                        ended = threading.Event()
                        was = []

                        def edit() -> None:
                            while not ended.is_set():
                                with contextlib.suppress(FileNotFoundError):
                                    if listed.stat().st_ino != first:
                                        was.append(not ended.is_set())
                                        (server.root / "www" / gone).write_bytes(edited)
                                        return

                        editor = threading.Thread(target=edit)
                        editor.start()
                        code, said = scene.client(server, *words)
                        ended.set()
                        editor.join()
                        edits += bool(was)
                        if was and (held(server.root / "www" / gone) != edited or code != 12):
                            where = f"{disk}, {form}, run {turn}"
                            return f"{where}: {gone} was edited after the plan: exit {code}: {said[-2000:]!r}"
                    if edits < scene.rounds / 2:
                        return f"{disk}, {form}: only {edits} of {scene.rounds} edits came in time"
                scene.disk = None
                for path in root.iterdir():
                    shutil.rmtree(path, ignore_errors=True)
    return None


ALL = [listings_beside_saves, edits_within_a_second, mirrors_beside_saves, deploys_beside_edits]
