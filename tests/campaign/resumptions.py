"""Power cuts during uploads over an old file, after which clients resume on the restored disk.

At each flush, the disk is restored to states that a power cut could have left. The server is started on each of them, and
each client resumes as usual. After exit 0 the file must be the client's whole file; otherwise the old or the new one. Only
before the record of the upload has been synced, a mixture is possible: that is documented, and counted.

A disk that confirms flushes and carries none out loses records too. There, only our client must make no mixture. Others must
make some: otherwise the restored disks prove nothing.
"""

import contextlib
import pathlib
import random
import shutil
import subprocess
import time
from typing import Iterator, NamedTuple, Optional

import peers
import place
import programs
from clients import Connection, Curl, Lftp, Order, Ours
from findings import Findings, say
from model import describe
from power import Cut, carry_out, cuts
from promises import store
from proxy import reset
from recorder import Recording, entries
from server import RECORD

SIZE_MIB = 64
# Length of the first old file. Each new file is longer than its old one: clients resume at the length of a shorter file.
OLD, LONG = 15_000, 12 << 20
# States of the disk at each flush, and seconds for one run of a client.
DRAWS, LONGEST = 2, 40.0
# Seconds that each flush of a slow disk takes.
SLOW = 0.05


class Stage(NamedTuple):
    """An upload over a file. From the byte `settled` of the record on, a disk that does not lie has the upload's record."""

    title: str
    old: bytes
    new: bytes
    begin: int
    settled: int


class Uploads:
    """Makes uploads on a recorded disk, and remembers the stages."""

    def __init__(self, server: peers.Server, disk: Recording, chance: random.Random) -> None:
        self.server, self.disk, self.chance = server, disk, chance
        self.stages: list[Stage] = []
        # Milliseconds from the 150 to the end of the record's sync.
        self.windows: list[float] = []
        self.old = chance.randbytes(OLD)

    def session(self):
        session = self.server.session()
        session.expect("TYPE I", "200")
        return session

    def begin(self, title: str, new: bytes, command: str = "STOR f", has_record: bool = False):
        """Begins an upload, and sends half of it. Returns its session and its data connection."""
        begin, session = self.disk.length(), self.session()
        if command == "STOR f":
            data, told = session.begin(command), 0
        else:
            told = int(session.expect("SIZE f", "213").split()[1])
            session.expect(f"REST {told}", "350")
            data = session.begin("STOR f")
        said = time.monotonic()
        data.sendall(new[told : len(new) // 2])
        changed = self.disk.quiet()
        if not has_record:
            self.windows.append(max(0.0, changed - said) * 1_000)
        settled = begin if has_record else self.disk.length()
        self.stages.append(Stage(title, self.old, new, begin, settled))
        return session, data

    def end(self, session, data, rest: Optional[bytes]) -> None:
        """Ends an upload with the rest of its bytes, or cuts it."""
        if rest is None:
            reset(data)
            session.reply()
        else:
            data.sendall(rest)
            data.close()
            if not (said := session.reply()).startswith("226"):
                raise OSError(said)
            self.old = self.stages[-1].new
        session.close()
        self.disk.quiet()

    def longer(self) -> bytes:
        return self.chance.randbytes(len(self.old) + self.chance.randint(50_000, 150_000))

    def run(self) -> None:
        new = self.longer()
        self.end(*self.begin("an upload is cut", new), None)
        # The client goes on with half of the bytes; it sends the same file.
        self.end(*self.begin("it is resumed and cut again", new, "REST", True), None)
        self.end(*self.begin("it is sent again from byte 0", new, has_record=True), new[len(new) // 2 :])
        new = self.longer()
        stage = Stage("an upload in one go", self.old, new, self.disk.length(), 0)
        with contextlib.closing(self.session()) as session:
            store(session, "f", new)
        self.old = new
        self.disk.quiet()
        # When its record was synced is not known.
        self.stages.append(stage._replace(settled=self.disk.length()))
        new = self.longer()
        first, data = self.begin("a dead line", new)
        second, other = self.begin("a second attempt beside it", new, has_record=True)
        self.end(first, data, None)
        self.end(second, other, None)
        store_whole = self.begin("a third attempt", new, has_record=True)
        self.end(*store_whole, new[len(new) // 2 :])
        new = self.longer()
        session, data = self.begin("the server is killed", new)
        self.server.process.kill()
        self.server.process.wait()
        self.server.__enter__()
        self.disk.quiet()
        self.end(*self.begin("another attempt at the next server", new, has_record=True), new[len(new) // 2 :])
        new = self.chance.randbytes(LONG)
        self.end(*self.begin("a long upload, synced in pieces", new), new[len(new) // 2 :])
        self.disk.quiet()


def lost(image: pathlib.Path, record: pathlib.Path, begin: int, chance: random.Random) -> Iterator[Cut]:
    """Yields, for each flush after `begin`, a disk that since then has carried out only the first of its writes."""
    content, pending = bytearray(image.read_bytes()), []
    for entry in entries(record):
        if entry.data is None and entry.end > begin:
            kept = bytearray(content)
            carry_out(kept, pending[: chance.choice([0, chance.randint(0, len(pending))])])
            yield Cut(kept, entry.end)
        elif entry.data is not None and entry.end > begin:
            pending.append(entry)
        elif entry.data is not None:
            carry_out(content, [entry])


class Resumptions:
    """A run: the uploads, and each client on each restored disk."""

    def __init__(self, program: str, here: place.Place, seed: int, findings: Findings) -> None:
        self.program, self.place, self.findings = program, here, findings
        self.chance = random.Random(f"{seed}/resumptions")
        known = (Curl(), Ours(program), Lftp())
        self.clients = [client for client in known if client.is_installed()]
        self.password = "pass word"

    def server(self, root: pathlib.Path) -> peers.Server:
        settings = ("transfer.sync=file+dir", "limits.min_free=0")
        return peers.Server(peers.ours(self.program, self.password, *settings), root, tls=False)

    def record(self, top: pathlib.Path, delay: float) -> tuple[Recording, Uploads, pathlib.Path]:
        """Makes the uploads on a disk whose flushes take this long."""
        top.mkdir()
        image = top / "image"
        with open(image, "wb") as file:
            file.truncate(SIZE_MIB << 20)
        place.run("mkfs.ext4", "-q", "-F", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
        with Recording(image, top, delay) as disk:
            root = disk.root / "root"
            root.mkdir()
            with self.server(root) as server:
                uploads = Uploads(server, disk, self.chance)
                (root / "f").write_bytes(uploads.old)
                subprocess.run(["sync", "-f", str(root)], check=True)
                disk.quiet()
                uploads.run()
        times = ", ".join(f"{window:.1f}" for window in uploads.windows)
        say(f"resumptions: records were synced {times} ms after the 150, with {delay * 1_000:.0f} ms for a flush")
        return disk, uploads, image

    def run(self) -> Findings:
        top = self.place.path / "resumptions"
        disk, uploads, image = self.record(top, 0)
        begin = uploads.stages[0].begin
        for _ in range(DRAWS):
            for cut in cuts(image, disk.record, begin, self.chance):
                self.resume(top, cut, uploads.stages, False)
        for stage in uploads.stages:
            if stage.settled > stage.begin:
                ends = [other.begin for other in uploads.stages if other.begin > stage.begin]
                for cut in lost(image, disk.record, stage.begin, self.chance):
                    if ends and cut.position > ends[0]:
                        break
                    self.resume(top, cut, [stage], True)
        if not any(count for how, count in self.findings.counts.items() if how.startswith("a mixture, lost syncs")):
            self.findings.add("no client made a mixture after lost syncs: the restored disks prove nothing")
        self.record(self.place.path / "slow", SLOW)
        say(f"resumptions: {sum(self.findings.counts.values())} cases: {dict(self.findings.counts)}")
        return self.findings

    def resume(self, top: pathlib.Path, cut: Cut, stages: list[Stage], lies: bool) -> None:
        """Lets each client resume on a disk."""
        stage = [stage for stage in stages if stage.begin <= cut.position][-1]
        for client in self.clients:
            how, problem = self.resume_with(client, top, cut, stage, lies)
            self.findings.count(how)
            if problem:
                lost_syncs = ", lost syncs" if lies else ""
                self.findings.add(f"{stage.title}, cut at byte {cut.position}{lost_syncs}, {client.name}: {problem}")

    def resume_with(self, client, top: pathlib.Path, cut: Cut, stage: Stage, lies: bool) -> tuple[str, Optional[str]]:
        """Returns how a case ended, and what is wrong."""
        image, mounted, local = top / "cut", top / "restored", self.place.local / "resumed"
        image.write_bytes(cut.content)
        mounted.mkdir(exist_ok=True)
        local.mkdir()
        up = local / "f"
        up.write_bytes(stage.new)
        place.mount(image, mounted)
        try:
            root = mounted / "root"
            target = root / "f"
            before = target.read_bytes() if target.exists() else None
            if before not in (stage.old, stage.new):
                return "torn", f"before a client comes: {describe(before)}"
            has_record = any(path.name.startswith(RECORD) for path in root.iterdir())
            with self.server(root) as server:
                connection = Connection(place.HOST, server.user, self.password, port=server.port)
                words, environment = client.command(connection, Order("continue", "/f", local=str(up)))
                ended = programs.run(words, LONGEST, {"HOME": str(local), **environment}, local)
            found = target.read_bytes() if target.exists() else None
        finally:
            place.run("umount", str(mounted))
            shutil.rmtree(local)
        may_mix = client.name != "ours" and before == stage.old and not has_record
        may_mix = may_mix and (lies or cut.position < stage.settled)
        if ended.code == 0 and found == stage.new:
            return f"exit 0, {client.name}", None
        if ended.code and found in (stage.old, stage.new):
            return f"another exit, {client.name}", None
        if may_mix and found == stage.old + stage.new[len(stage.old) :]:
            return f"a mixture, {'lost syncs' if lies else 'before the sync'}, {client.name}", None
        return "wrong", f"exit {ended.code}, {describe(found)}: {ended.said[-300:]!r}"
