"""Promises where the machine, its network, its disk or its clock is odd: a function for each. See machines.py."""

import contextlib
import os
import pathlib
import tempfile
import time
from typing import TYPE_CHECKING, Callable, Iterator, Optional

import machines
import peers
import worlds
from findings import say
from machines import standins
from model import describe
from proxy import Plan, Proxy
from worlds import contents, held, tree, world

if TYPE_CHECKING:
    from promises import Scene

# Bytes of a file that is larger than the memory of a small machine, and of one for a slow network.
LARGE, SMALL = 80 << 20, 150_000
# The files of a tree.
TREE = ("a", "b/c", "b/d", ".e")
# The time of all files whose time does not matter: an even number of seconds, as disks like FAT have.
OLD = 1_700_000_000
# Disks with rules of their own: no case in names, or times of two seconds.
DISKS = ("exfat-fuse", "ntfs-3g", "vfat")
# The exit code of an upload that nothing proves.
UNPROVED = 11
# Hours between the time of a server's LIST and UTC.
ZONES = (-9.5, 5.75, 13)


def there_and_back(scene: "Scene", server: peers.Server, size: int, names: tuple[str, ...] = TREE) -> Optional[str]:
    """Moves a file and a tree in both directions, with an interruption and a second run, and compares all bytes.

    Without names of a tree, only a file is moved, and nothing is interrupted.
    """
    block = scene.random.randbytes(min(size, 1 << 20))
    content = block * (size // len(block))
    # Not in memory, which would count as memory of the client.
    with tempfile.TemporaryDirectory() as name:
        top = pathlib.Path(name)
        up, down, half = top / "up", top / "down", len(content) // 2
        up.write_bytes(content)
        os.utime(up, (OLD, OLD))
        for words, verb, here in (
            (["put", str(up), "{url}/f"], b"STOR", server.root / "f"),
            (["get", "{url}/f", str(down)], b"RETR", down),
            (["put", "-c", str(up), "{url}/g"], b"STOR", server.root / "g"),
            (["get", "-c", "{url}/f", str(top / "again")], b"RETR", top / "again"),
        )[: None if names else 2]:
            with Proxy(server.port, Plan("reset", half, 0, verb), at=server.host) as proxy:
                if "-c" in words:
                    code, said = scene.client(server, *words, proxy=proxy)
                    if code == 0:
                        return f"{words} ended with 0 after {proxy.struck}: {said!r}"
                code, said = scene.client(server, *words, proxy=proxy if "-c" in words else None)
            if code or held(here) != content:
                return f"{words}: exit {code}, {describe(held(here))}: {said!r}"
            if here != server.root / "f":
                here.unlink()
        if not names:
            return None
        files = {name: scene.bytes(0, 5_000) for name in names}
        for path, one in files.items():
            (top / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
            (top / "tree" / path).write_bytes(one)
            os.utime(top / "tree" / path, (OLD, OLD))
        for words, here in (
            (["mirror", str(top / "tree"), "{url}/tree"], server.root / "tree"),
            (["mirror", "{url}/tree", str(top / "copy")], top / "copy"),
        ):
            for count in (b"%d file" % len(names), b"0 files copied"):
                code, said = scene.client(server, *words)
                if code or count not in said or any(held(here / path) != one for path, one in files.items()):
                    return f"{words}: exit {code}, not {count!r}, or not all is there: {said!r}"
    return None


def small_machines(scene: "Scene") -> Optional[str]:
    """With little memory, and without newer system calls, server and client move files that are larger than memory."""
    for machine in scene.machines.all("server"):
        scene.server_on, scene.client_on = machine, machines.PLAIN
        with scene.ours() as server:
            if problem := there_and_back(scene, server, LARGE):
                return problem
    for machine in scene.machines.all("client"):
        scene.server_on, scene.client_on = machines.PLAIN, machine
        with scene.ours() as server:
            if problem := there_and_back(scene, server, LARGE):
                return problem
    return None


def slow_networks(scene: "Scene") -> Optional[str]:
    """Over a network that is slow and loses packets, all arrives, and no timeout ends what makes progress."""
    for rtt in machines.TRIPS:
        with machines.network(rtt) as network:
            if not network.line:
                return None
            with peers.Server(peers.ours(scene.program, scene.password), tls=False, host=network.host) as server:
                with network.far():
                    if problem := there_and_back(scene, server, SMALL, TREE if rtt < 0.1 else ()):
                        return f"{network.line}: {problem}"
    return None


@contextlib.contextmanager
def disks() -> Iterator[Iterator[pathlib.Path]]:
    """Returns the roots of the odd disks, each mounted until the next one."""
    with contextlib.ExitStack() as stack:

        def each() -> Iterator[pathlib.Path]:
            for name in DISKS:
                with tempfile.TemporaryDirectory() as top:
                    (pathlib.Path(top) / "root").mkdir()
                    try:
                        with standins.mounted(name, top):
                            yield name, pathlib.Path(top) / "root"
                    except standins.Unmountable as error:
                        say(f"skipped: {name}: {error}")

        found = each()
        stack.callback(found.close)
        yield found


def on_disks(scene: "Scene", promises: list[Callable], is_server: bool) -> Optional[str]:
    """Tests promises with one side on each odd disk."""
    with disks() as found:
        for name, root in found:
            for number, promise in enumerate(promises):
                place = root / str(number)
                place.mkdir()
                scene.disk, scene.local = (place, scene.home) if is_server else (None, place)
                if problem := promise(scene):
                    return f"{promise.__name__} on {name}: {problem}"
    return None


def names_on_a_disk(scene: "Scene") -> Optional[str]:
    """A move to a disk that takes two names for one loses no content, and a mirror with deletions deletes no new file.

    The disk is that of the server, or that of the client.
    """
    pairs = worlds.PAIRS["case"][:1] + worlds.PAIRS["dots"][:1]
    names = [f"{part}/{name}" for part, pair in enumerate(pairs) for name in pair]
    for options in ([], ["--temp"], ["-j", "4"]):
        with tempfile.TemporaryDirectory() as top, scene.ours() as server:
            # The source is always on a disk without rules.
            near, far = (pathlib.Path(top), server.root / "t") if scene.disk else (server.root / "t", scene.local / "t")
            files = {name: scene.random.randbytes(1_000) for name in names}
            for name, content in files.items():
                (near / name).parent.mkdir(parents=True, exist_ok=True)
                (near / name).write_bytes(content)
                os.utime(near / name, (OLD, OLD))
            words = [str(near), "{url}/t"] if scene.disk else ["{url}/t", str(far)]
            move = ["--remove-source"] if scene.disk else []
            code, said = scene.client(server, "mirror", *move, *options, *words)
            there = contents(far)
            lost = [name for name, content in files.items() if content not in there + contents(near)]
            if lost or code == 0 and any(content not in there for content in files.values()):
                return f"{options}: exit {code}, lost {lost}: {said!r}"
            worlds.remove(far)
            # One file in another spelling, which is new.
            one, other = pairs[0]
            for path in contents_of(near):
                path.unlink()
            far.mkdir()
            (far / one).write_bytes(b"old")
            new = scene.bytes(10, 5_000)
            (near / other).write_bytes(new)
            code, said = scene.client(server, "mirror", "--delete", *options, *words)
            if not contents(far) or code == 0 and new not in contents(far):
                return f"{options} {one!r} {other!r}: exit {code}, left {len(contents(far))} files: {said!r}"
            worlds.remove(far)
    return None


def contents_of(top: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in top.rglob("*") if path.is_file()]


def times_on_a_disk(scene: "Scene") -> Optional[str]:
    """Times that the disk rounds hide no change, and make no file look changed; to the disk and from it."""
    files = {f"d{number % 2}/f{number}": scene.bytes(10, 5_000) for number in range(8)}
    with tempfile.TemporaryDirectory() as top, scene.ours() as server:
        near, far = (pathlib.Path(top), server.root / "t") if scene.disk else (server.root / "t", scene.local / "t")
        for number, (path, content) in enumerate(files.items()):
            (near / path).parent.mkdir(parents=True, exist_ok=True)
            (near / path).write_bytes(content)
            os.utime(near / path, ns=((OLD + number) * 10**9 + number * 130_000_007,) * 2)
        words = [str(near), "{url}/t"] if scene.disk else ["{url}/t", str(far)]
        back = ["{url}/t", str(pathlib.Path(top) / "back")] if scene.disk else [str(far), "{url}/back"]
        for order in (words, back):
            for count in (b"8 files copied", b"0 files copied"):
                code, said = scene.client(server, "mirror", *order)
                if code or count not in said or sorted(contents(far)) != sorted(files.values()):
                    return f"mirror {order}: exit {code}, must be {count!r}: {said!r}"
        changed = next(iter(files))
        # Of the same size, and three seconds later: more than any grain.
        new = scene.random.randbytes(len(files[changed]))
        (near / changed).write_bytes(new)
        os.utime(near / changed, (OLD + 3, OLD + 3))
        code, said = scene.client(server, "mirror", *words)
        if code or held(far / changed) != new:
            return f"a changed file was not copied: exit {code}: {said!r}"
    return None


def times_of_two_seconds(scene: "Scene") -> Optional[str]:
    """As times_on_a_disk, with a server whose times are even seconds, as on FAT."""
    with tempfile.TemporaryDirectory() as top, world(grain=2) as server:
        near, far = pathlib.Path(top), server.root / "t"
        files = {f"d{number % 2}/f{number}": scene.bytes(10, 5_000) for number in range(6)}
        for number, (path, content) in enumerate(files.items()):
            (near / path).parent.mkdir(parents=True, exist_ok=True)
            (near / path).write_bytes(content)
            os.utime(near / path, (OLD + number, OLD + number))
        changed = next(iter(files))
        for words, source, target in (
            ([str(near), "{url}/t"], near, far), (["{url}/t", str(scene.local / "even")], far, scene.local / "even")
        ):  # fmt: skip
            if problem := mirrored_twice(scene, server, words, target, files, False):
                return problem
            new = scene.random.randbytes(len(files[changed]))
            (source / changed).write_bytes(new)
            # More than a grain after all earlier times.
            later = OLD + 13 if source == near else OLD + 23
            os.utime(source / changed, (later, later))
            code, said = scene.client(server, "mirror", *words)
            if code or held(target / changed) != new:
                return f"mirror {words}: a changed file was not copied: exit {code}: {said!r}"
            files[changed] = new
    return None


def deploys(scene: "Scene") -> Optional[str]:
    """mirror --manifest uploads by content, whatever the times of the checkout, and leaves the files of others alone."""
    with tempfile.TemporaryDirectory() as name, scene.ours() as server:
        top, www = pathlib.Path(name) / "site", server.root / "www"
        www.mkdir()
        (www / "theirs").write_bytes(b"theirs")
        files = {f"d{number % 2}/f{number}": scene.bytes(10, 5_000) for number in range(6)}
        words = ["mirror", "--manifest", "--delete", str(top), "{url}/www"]
        for turn in range(4):
            worlds.remove(top)
            for path, content in files.items():
                (top / path).parent.mkdir(parents=True, exist_ok=True)
                (top / path).write_bytes(content)
                os.utime(top / path, (OLD + 10 * turn,) * 2)
            code, said = scene.client(server, *words)
            there = {str(path.relative_to(www)): path.read_bytes() for path in contents_of(www)}
            there.pop(".ftp-cli-manifest.json", None)
            if code or there != {**files, "theirs": b"theirs"} or turn % 2 and b" 0 files copied" not in b" " + said:
                return f"deploy {turn}: exit {code}, has {sorted(there)}, must have {sorted(files)}: {said!r}"
            if turn == 1:
                # One file of the same size, one that is gone, and one that is new.
                first, second, *_ = files
                files[first] = scene.random.randbytes(len(files[first]))
                del files[second]
                files["d0/new"] = scene.bytes(10, 5_000)
    return None


def zones(scene: "Scene") -> Optional[str]:
    """Whatever zone a server's listings are in, and whether it sets times: a second mirror copies nothing and hides no change.

    A server that only claims to set times may get a file again, and a client may get one again whose exact time no server
    tells. Where no time tells an upload from the file of its size that it replaces, that is a failure (CL-52), and the
    content is right all the same.
    """
    lists = ["MLSD", "MLST"]
    lacks = [lists, [*lists, "MFMT"], [*lists, "MDTM", "MFMT"]]
    cases = [{"zone": zone, "lacks": one} for zone in scene.random.sample(ZONES, 1) for one in lacks]
    cases += [{"untimed": True, "lacks": one} for one in ([], lists)] + [{"untimed": True, "zone": ZONES[0], "lacks": lists}]
    days = int(time.time()) - 5 * 86_400
    files = {f"d{number % 2}/f{number}": scene.bytes(10, 5_000) for number in range(4)}
    tops = [worlds.tree(scene, f"zone {number}", files) for number in range(len(cases))]
    for top in tops:
        for number, path in enumerate(files):
            os.utime(top / path, (days + 3_600 * number,) * 2)
    # Where times cannot be set, a file is unchanged if it was stored after its source came: not in the same second.
    time.sleep(1.1)
    for top, case in zip(tops, cases):
        with world(**case) as server:
            there, down = server.root / "t", top.with_name(f"{top.name} down")
            for source, target, words in ((top, there, [str(top), "{url}/t"]), (there, down, ["{url}/t", str(down)])):
                may_repeat = "untimed" in case if source == top else "MDTM" in case["lacks"]
                codes = (0, UNPROVED) if source == top and "MDTM" in case["lacks"] else (0,)
                if problem := mirrored_twice(scene, server, words, target, files, may_repeat, codes):
                    return f"{case}: {problem}"
                changed, shift = source / next(iter(files)), abs(case.get("zone", 2)) * 3_600
                for later in (shift, -shift):
                    new = scene.random.randbytes(changed.stat().st_size)
                    before = changed.stat().st_mtime
                    if "untimed" in case:
                        # A change in the second of the upload has the time of the upload.
                        time.sleep(1.1)
                    changed.write_bytes(new)
                    if source == there:
                        # As much as a time in the wrong zone differs.
                        os.utime(changed, (before + later,) * 2)
                    code, said = scene.client(server, "mirror", *words)
                    if code not in codes or held(target / changed.relative_to(source)) != new:
                        return f"{case}: mirror {words}: exit {code}, and a change was hidden: {said!r}"
                    if source == top:
                        break
                changed.write_bytes(files[next(iter(files))])
                for number, path in enumerate(files):
                    os.utime(there / path, (days + 3_600 * number,) * 2)
                (there / changed.relative_to(source)).write_bytes(files[next(iter(files))])
    return None


def mirrored_twice(
    scene: "Scene", server: peers.Server, words: list[str], target: pathlib.Path,
    files: dict[str, bytes], may_repeat: bool, codes: tuple[int, ...] = (0,),
) -> Optional[str]:  # fmt: skip
    """Mirrors files, and again, when nothing is copied. Each run ends with one of these codes."""
    for count in (b"%d files copied" % len(files), b"0 files copied"):
        code, said = scene.client(server, "mirror", *words)
        if code not in codes or any(held(target / path) != content for path, content in files.items()):
            return f"mirror {words}: exit {code}, not all is there: {said!r}"
        if count not in said and not code and not may_repeat and b"the server's clock is unknown" not in said:
            return f"mirror {words}: must be {count!r}: {said!r}"
    return None


def server_on_odd_disks(scene: "Scene") -> Optional[str]:
    """What the server promises about names, times, resumption and deploys also holds on disks with other rules."""
    promises = [names_on_a_disk, times_on_a_disk, deploys, worlds.uploads_that_are_resumed, worlds.watched_files]
    return on_disks(scene, [*promises, worlds.upload_that_runs, worlds.one_story], True)


def client_on_odd_disks(scene: "Scene") -> Optional[str]:
    """What the client promises about names, times and resumption also holds on disks with other rules."""
    promises = [names_on_a_disk, times_on_a_disk, worlds.parts_of_others, worlds.uploads_of_others]
    return on_disks(scene, [*promises, worlds.killed_downloads, worlds.deletions_after_a_failure], False)


ALL: list[Callable[["Scene"], Optional[str]]] = [
    small_machines, slow_networks, zones, times_of_two_seconds, server_on_odd_disks, client_on_odd_disks, deploys,
]  # fmt: skip
