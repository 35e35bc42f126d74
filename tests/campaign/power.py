"""Power cuts: a server works on a recorded disk, which is then restored to states that a power cut could have left.

Between two flushes, a disk may have written any of the blocks that it received. For each flush, one such disk is
mounted. Its files must match the state that the server last confirmed, or the state after the action that followed it.
With `transfer.sync = "none"` some files must differ: otherwise the record proves nothing.
"""

import pathlib
import random
import subprocess
from typing import Iterator, NamedTuple, Optional

import peers
import place
from findings import Findings, say
from model import State, described
from promises import store
from recorder import Entry, Recording, entries

SIZE_MIB, ACTIONS = 48, 200
NAMES = [f"f{number}" for number in range(12)]
HIDDEN = ".ftp-upload-"
SIZES = (0, 1, 5_000, 65_536, 200_000)


class Step(NamedTuple):
    """The files after an action, and the length of the record when the client received the reply."""

    title: str
    files: dict[str, bytes]
    end: int


class Cut(NamedTuple):
    """A disk after a power cut, and the length of the record at that time."""

    content: bytearray
    position: int


def actions(session, disk: Recording, chance: random.Random) -> list[Step]:
    """Makes random uploads, replacements, renames and deletions, one after the other."""
    files: dict[str, bytes] = {}
    steps = [Step("the start", {}, disk.length())]
    while len(steps) <= ACTIONS:
        name, to = chance.sample(NAMES, 2)
        kind = chance.choice(["STOR", "STOR", "STOR", "RNTO", "DELE"])
        if kind == "STOR":
            content = chance.randbytes(chance.choice(SIZES))
            said, wanted = store(session, name, content), "226"
            files[name] = content
        elif name not in files:
            continue
        elif kind == "RNTO":
            session.expect(f"RNFR {name}", "350")
            said, wanted = session.say(f"RNTO {to}"), "250"
            files[to] = files.pop(name)
        else:
            said, wanted = session.say(f"DELE {name}"), "250"
            del files[name]
        if not said.startswith(wanted):
            raise OSError(f"{kind} {name}: {said}")
        steps.append(Step(f"{kind} {name}", dict(files), disk.length()))
    return steps


def cuts(image: pathlib.Path, record: pathlib.Path, begin: int, chance: random.Random) -> Iterator[Cut]:
    """Yields, for each flush after `begin`, a disk that lost some of the writes before that flush."""
    content, pending, position = bytearray(image.read_bytes()), [], 0
    for entry in entries(record):
        if entry.data is not None:
            pending.append(entry)
        elif position >= begin:
            yield Cut(with_some(content, pending, chance), position)
        if entry.data is None:
            carry_out(content, pending)
            pending.clear()
        position = entry.end
    yield Cut(with_some(content, pending, chance), position)


def with_some(content: bytearray, pending: list, chance: random.Random) -> bytearray:
    """Returns a disk with none, some or all of the pending writes."""
    kept, part = bytearray(content), chance.choice([0, 0.5, 0.9, 1])
    carry_out(kept, [write for write in pending if chance.random() < part])
    return kept


def carry_out(content: bytearray, writes: list[Entry]) -> None:
    for write in writes:
        content[write.offset : write.offset + len(write.data)] = write.data


def files_of(cut: Cut, top: pathlib.Path) -> State:
    """Mounts a disk as after a restart, and returns its files."""
    image, root = top / "cut", top / "restored"
    image.write_bytes(cut.content)
    root.mkdir(exist_ok=True)
    place.mount(image, root)
    try:
        found = [path for path in (root / "root").iterdir() if not path.name.startswith(HIDDEN)]
        return {path.name: path.read_bytes() for path in found}
    finally:
        place.run("umount", str(root))


def wrong(files: State, steps: list[Step], position: int) -> Optional[str]:
    """Returns what is wrong with files after a cut, if anything. An unconfirmed action may have been done or not."""
    last = max(number for number, step in enumerate(steps) if step.end <= position)
    if files in [step.files for step in steps[last : last + 2]]:
        return None
    wanted = steps[last].files
    odd = {name for name in files.keys() | wanted.keys() if files.get(name) != wanted.get(name)}
    found = {name: files.get(name) for name in odd}
    before = {name: wanted.get(name) for name in odd}
    return f"after {steps[last].title!r}: {described(found)}; must be {described(before)}"


class Power:
    """A run: power cuts with and without sync."""

    def __init__(self, program: str, here: place.Place, seed: int) -> None:
        self.program, self.place, self.seed = program, here, seed
        self.findings = Findings("power")

    def run(self) -> Findings:
        problems = self.problems("file+dir")
        for problem in problems:
            self.findings.add(problem)
        if not self.problems("none"):
            self.findings.add("without syncs nothing was lost: the record proves nothing")
        return self.findings

    def problems(self, sync: str) -> list[str]:
        """Returns what is wrong after cuts, with this value of `transfer.sync`."""
        chance, top = random.Random(f"{self.seed}/power"), self.place.path / sync
        top.mkdir()
        image = top / "image"
        with open(image, "wb") as file:
            file.truncate(SIZE_MIB << 20)
        place.run("mkfs.ext4", "-q", "-F", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
        settings = (f"transfer.sync={sync}", "limits.min_free=0")
        with Recording(image, top) as disk:
            root = disk.root / "root"
            root.mkdir()
            subprocess.run(["sync", "-f", str(root)], check=True)
            begin = disk.length()
            with peers.Server(peers.ours(self.program, "pass word", *settings), root, tls=False) as server:
                steps = actions(server.session(), disk, chance)
        found, count = [], 0
        for cut in cuts(image, disk.record, begin, chance):
            count += 1
            problem = wrong(files_of(cut, top), steps, cut.position)
            if problem:
                found.append(f"cut at byte {cut.position} of the record, {problem}")
                if sync == "none":
                    break
        uploads = sum(step.title.startswith("STOR") for step in steps)
        what = f"{len(steps) - 1} actions, {uploads} of them uploads, {disk.length() >> 10} KiB recorded"
        say(f"{sync}: {what}, {count} cuts, {len(found)} wrong" + "".join(f"; {problem}" for problem in found[:1]))
        return found
