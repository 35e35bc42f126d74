"""Switches: each makes one assumption about the world false, and counts how often that took effect.

A run turns on several at random. There are three kinds. A dialogue changes commands, replies and listings between any
client and any server; a disk lies to the server or to the client; an act is something that another program does to a
file meanwhile. With most of them, a program may fail. What else may be true afterwards is in `may`.
"""

import errno
import contextlib
import mmap
import os
import pathlib
import random
import re
import subprocess
import sys
import threading
import time
from typing import Iterator, NamedTuple, Optional

from place import TOP, Unavailable, run

CHANGES = (b"DELE", b"RMD", b"RNTO", b"MKD")
# Lines of a listing before its cut, bytes that a program adds, seconds for a request that comes late, and for a disk.
LINES, MORE, LATE, MOUNTED = 3, b"a line of another program\n", 1.0, 10.0


class Instead(NamedTuple):
    """What happens in place of a command: what the server gets, and what the client hears of its reply."""

    sends: bytes
    # None: the reply of the server.
    hears: Optional[bytes] = None
    # A command before it, whose reply nobody hears.
    first: bytes = b""


NOTHING = b"NOOP\r\n"
NO_RENAME = b"RNTO /no such directory/f\r\n"


class Switch:
    """A part of the world that is not as usual."""

    name, assumption, kind, side = "", "", "", ""
    # What the model allows: a listing that lacks names ("names"), a removal that is confirmed and not made ("claims"), a file
    # that is stored under another name ("elsewhere"), and an upload that the network cut without a sign ("unsized").
    may: frozenset[str] = frozenset()
    # Whether a program must do its job all the same, in the same run.
    is_free = False
    # The actions of a watch in which it shows. Or what shows it, as our programs never ask for it: a command about the
    # directory `full`, which has a file, or its removal from the disk.
    verbs: tuple[str, ...] = ()
    shown_by = ""

    def __init__(self, chance: random.Random) -> None:
        self.random, self._count, self._lock = chance, 0, threading.Lock()

    def took_effect(self) -> None:
        with self._lock:
            self._count += 1

    @property
    def count(self) -> int:
        """Returns how often the assumption was false."""
        return self._count

    @contextlib.contextmanager
    def setup(self, _top: pathlib.Path) -> Iterator[None]:
        """Prepares the world, with an own directory."""
        yield


class Dialogue(Switch):
    """Changes what client and server say to each other. The proxy calls these functions."""

    kind = "dialogue"

    def packet(self, data: bytes) -> bytes:
        """Returns what the server reads of a packet of commands."""
        return data

    def accepted(self, sessions: list) -> None:
        """A control connection begins; the last one of these."""

    def command(self, session, word: bytes, rest: bytes) -> Optional[Instead]:
        return None

    def reply(self, session, word: bytes, line: bytes) -> bytes:
        """Returns what a client hears in place of the last line of a final reply."""
        return line

    def listing(self, session, word: bytes, lines: list[bytes]) -> list[bytes]:
        return lines

    def resets(self, word: bytes) -> bool:
        """Returns whether the data connection is reset after its last byte."""
        return False


class Packets(Dialogue):
    name, assumption, is_free = "packets", "A server reads several commands of one packet", True

    def packet(self, data):
        first, end, rest = data.partition(b"\n")
        if rest:
            self.took_effect()
        return first + end


# The actions in which our client sends such a command.
SHOWN = {
    b"MFMT": ("mirror up",), b"MLSD": ("list",), b"SIZE": ("put",), b"EPSV": ("get",), b"OPTS": ("mirror down",),
    b"RNTO": ("rename",), b"DELE": ("delete",),
}  # fmt: skip


def refuses(
    title: str, about: str, commands: tuple[bytes, ...], code: bytes, share: int = 1, free: bool = False, allows: str = ""
) -> type[Dialogue]:
    """Returns a switch that answers commands without carrying them out, one in `share` of them."""

    class Refuses(Dialogue):
        name, assumption, is_free, may = title, about, free, frozenset(filter(None, [allows]))
        verbs = SHOWN[commands[0]]

        def command(self, session, word, rest):
            if word in commands and not self.random.randrange(share):
                self.took_effect()
                # After RNFR, some servers accept nothing else until an RNTO.
                return Instead(NO_RENAME if word == b"RNTO" else NOTHING, code + b"\r\n")
            return None

    return Refuses


class Rest(Dialogue):
    name, assumption = "restart", "The server resumes where it was told"
    verbs = ("resume",)

    def command(self, session, word, rest):
        if word == b"RETR" and session.resumes:
            self.took_effect()
            return Instead(b"RETR " + rest + b"\r\n", first=b"REST 0\r\n")
        return None


def empty(top: pathlib.Path) -> None:
    """Removes what is in a directory, and in those to which links lead, as the usual server of phones does."""
    for path in list(top.iterdir()):
        if path.is_dir():
            empty(path)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


class Rmd(Dialogue):
    name, assumption = "recursive RMD", "`RMD` of a directory that is not empty is refused"
    shown_by = "RMD up/full"

    def command(self, session, word, rest):
        path = session.path(rest)
        if word == b"RMD" and path.is_dir() and any(path.iterdir()):
            self.took_effect()
            empty(path)
        return None


class Dele(Dialogue):
    name, assumption = "DELE 250", "`DELE` removes files and links only"
    shown_by = "DELE up/full"

    def command(self, session, word, rest):
        if word == b"DELE" and session.path(rest).is_dir():
            self.took_effect()
            return Instead(NOTHING, b"250 Removed\r\n")
        return None


class Rename(Dialogue):
    name, assumption = "other name", "A file of the right size is the one that was sent"
    may = frozenset({"elsewhere"})
    verbs = ("put",)

    def command(self, session, word, rest):
        path = session.path(rest)
        if word == b"STOR" and not session.resumes and path.is_file():
            self.took_effect()
            return Instead(b"STOR " + rest + b".1\r\n")
        return None


class Cut(Dialogue):
    name, assumption, may = "cut listing", "A listing without an error is complete", frozenset({"names"})
    verbs = ("mirror down",)

    def listing(self, session, word, lines):
        if word == b"LIST" and len(lines) > LINES:
            self.took_effect()
            return lines[:LINES]
        return lines


class Lost(Dialogue):
    name, assumption, may = "lost name", "One listing shows each name that exists all the time", frozenset({"names"})
    verbs = ("list",)

    def __init__(self, chance):
        super().__init__(chance)
        self.turn = 0

    def listing(self, session, word, lines):
        # The next listing shows the name again.
        self.turn += 1
        files = [line for line in lines if b"type=file" in line or line[:1] == b"-" or word == b"NLST"]
        if self.turn % 2 and files:
            self.took_effect()
            lost = self.random.choice(files)
            return [line for line in lines if line != lost]
        return lines


class Twice(Dialogue):
    name, assumption = "said twice", "Each command gets one reply"
    verbs = ("put",)

    def reply(self, session, word, line):
        if word in (b"STOR", b"CWD") and line[:1] == b"2" and not self.random.randrange(3):
            self.took_effect()
            return line + b"250 Done, and said again.\r\n"
        return line


class Unheard(Dialogue):
    name, assumption = "lost reply", "A rename whose reply was lost has failed"
    verbs = ("put",)

    def reply(self, session, word, line):
        if word in (*CHANGES, b"STOR", b"APPE") and not self.random.randrange(4):
            self.took_effect()
            session.end()
            return b""
        return line


class Idle(Dialogue):
    name, assumption = "idle limit", "A temporary name is ours until it is renamed"
    verbs = ("put",)

    def __init__(self, chance):
        super().__init__(chance)
        self.is_due = False

    def reply(self, session, word, line):
        self.is_due |= word == b"STOR" and line[:3] == b"226"
        return line

    def command(self, session, word, rest):
        if self.is_due and word != b"QUIT":
            self.is_due = False
            self.took_effect()
            session.end()
            return Instead(b"")
        return None


class Late(Dialogue):
    name, assumption = "late command", "A failed command changed nothing that a deletion relies on"
    verbs = ("delete", "rename")

    def command(self, session, word, rest):
        if word in (b"DELE", b"RNTO") and not self.random.randrange(3):
            self.took_effect()
            # The client sees the end of its connection; the server gets the command later.
            session.forsake(word + b" " + rest + b"\r\n", LATE)
            return Instead(b"")
        return None


class Reset(Dialogue):
    name, assumption, is_free = "reset at the end", "A reset of the data connection means that bytes are missing", True
    verbs = ("get",)

    def resets(self, word):
        if word != b"RETR" or self.random.randrange(2):
            return False
        self.took_effect()
        return True


class Kick(Dialogue):
    name, assumption = "one session", "A server has one session more for this user"
    verbs = ("get",)

    def accepted(self, sessions):
        open_ones = [one for one in sessions[:-1] if not one.is_over]
        for one in open_ones:
            one.end()
            self.took_effect()


class Zone(Dialogue):
    name, assumption = "zone", "The clock of the server is right, but for its time zone"
    verbs = ("mirror down",)
    HOURS = 2

    def listing(self, session, word, lines):
        return [self.moved(line) for line in lines] if word == b"MLSD" else lines

    def reply(self, session, word, line):
        return self.moved(line) if word == b"MDTM" else line

    def moved(self, line):
        def later(found):
            self.took_effect()
            when = time.strptime(found[2].decode(), "%Y%m%d%H%M%S")
            seconds = time.mktime(when) - time.timezone + self.HOURS * 3_600
            return found[1] + time.strftime("%Y%m%d%H%M%S", time.gmtime(seconds)).encode()

        return re.sub(rb"(^213 |modify=)(\d{14})", later, line)


class Links(Dialogue):
    name, assumption = "links unseen", "A directory in a listing is not a link"
    verbs = ("remove tree",)

    # Only this project's server promises in FEAT that its listings show links, and vsFTPd by its greeting.
    FEATURES = b"211-Features\r\n" + b"".join(
        b" %s\r\n" % one for one in (b"MDTM", b"MFMT", b"MLST type*;size*;modify*;unique*;", b"REST STREAM", b"SIZE", b"UTF8")
    )

    def command(self, session, word, rest):
        return Instead(NOTHING, self.FEATURES + b"211 End\r\n") if word == b"FEAT" else None

    def reply(self, session, word, line):
        return line if word else b"220 Ready\r\n"

    def listing(self, session, word, lines):
        shown = [re.sub(rb"(?i)type=OS\.unix=slink:?[^;]*", b"type=dir", line) for line in lines]
        if word == b"LIST":
            shown = [re.sub(rb"^l(.*) -> [^\r\n]*", rb"d\1", line) for line in lines]
        if shown != lines:
            self.took_effect()
        return shown


DIALOGUES: list[type[Dialogue]] = [
    Packets, Rest, Rmd, Dele, Rename, Cut, Lost, Twice, Unheard, Idle, Late, Reset, Kick, Zone, Links,
    refuses("MFMT refused", "A server that lists `MFMT` sets times", (b"MFMT",), b"550 No", free=True),
    refuses("MFMT claimed", "A server that lists `MFMT` sets times", (b"MFMT",), b"213 Modify=20200101000000; done"),
    refuses("MLSD missing", "A server that lists a feature has it", (b"MLSD", b"MLST"), b"502 No", free=True),
    refuses("questions later", "A refused `SIZE` means that there is no file", (b"SIZE", b"MDTM", b"MLST"), b"450 Later", 2, allows="unsized"),
    refuses("SIZE later", "A refused `SIZE` means that there is no file", (b"SIZE",), b"450 Later", 2, allows="unsized"),
    refuses("SIZE missing", "A server that lists a feature has it", (b"SIZE",), b"500 What", allows="unsized"),
    refuses("EPSV refused", "A server that lists a feature has it", (b"EPSV",), b"522 No", free=True),
    refuses("UTF8 refused", "Names in a listing are UTF-8 if the server can UTF-8", (b"OPTS",), b"501 No", free=True),
    refuses("DELE claimed", "A success of `DELE` or `RMD` means that the object is gone", (b"DELE",), b"250 Removed", 2, allows="claims"),
    refuses("RNTO later", "A failed command changed nothing that a deletion relies on", (b"RNTO", b"DELE"), b"450 Later", 3),
]  # fmt: skip


class Lies(Switch):
    """A disk of lying_disk.py, below the files of the server or of the client."""

    lie = ""
    _told: Optional[pathlib.Path] = None

    @contextlib.contextmanager
    def setup(self, top):
        """Mounts the disk at `shown`; its files are in `files`, where nobody lies."""
        self.files, self.shown, self._told = top / "files", top / "shown", top / "told"
        for path in (self.files, self.shown):
            path.mkdir(parents=True)
            path.chmod(0o777)
        self._told.touch()
        script = pathlib.Path(__file__).with_name("lying_disk.py")
        words = [sys.executable, "-B", str(script), str(self.files), str(self.shown), str(self._told), self.lie]
        disk = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        end = time.monotonic() + MOUNTED
        while not os.path.ismount(self.shown) and time.monotonic() < end:
            time.sleep(0.01)
        try:
            yield
        finally:
            run("umount", "-l", str(self.shown))
            disk.kill()
            disk.wait()

    @property
    def count(self):
        return self._told.stat().st_size // (len(self.lie) + 1) if self._told else 0


def disk(which: str, told: str, about: str) -> type[Lies]:
    """Returns a switch for a disk below one side's files."""

    class OneDisk(Lies):
        name, kind, lie, side, assumption = f"{which} disk {told}", "disk", told, which, about
        # Our client refuses to replace a file whose mode it cannot keep.
        is_free = told in FREE and (which, told) != ("client", "modes")
        shown_by = "the disk" if told == "rmdir" else ""
        verbs = ("put", "mirror up", "append") if which == "server" else ("get", "resume", "mirror down")

    return OneDisk


LIES = {
    "inodes": "A file keeps its inode number, size and time until it is replaced",
    "close": "`write`, `fsync` and `rename` report every loss",
    "sync": "A failed write leaves the old file",
    "modes": "A disk keeps the mode that it was told",
    "times": "A disk keeps the time that it was told",
    "rmdir": "`rmdir` refuses a directory that has entries",
    "short": "A read or write moves all bytes",
    "full": "Space that was free a moment ago is free",
}
# Lies in spite of which a program must do its job.
FREE = ("inodes", "modes", "rmdir", "short")
DISKS = [disk(side, lies, about) for side in ("server", "client") for lies, about in LIES.items()]


class Act(Switch):
    """Another program that changes a file while a transfer runs, or between two of them."""

    kind, verbs = "act", ("put", "move")

    def act(self, path: pathlib.Path) -> None:
        """Changes a file, and counts that."""
        if path.is_file():
            try:
                self.change(path)
            except OSError as error:
                # Another switch fills the disk.
                if error.errno != errno.ENOSPC:
                    raise
                return
            self.took_effect()

    def change(self, path: pathlib.Path) -> None:
        raise NotImplementedError


class Append(Act):
    name, assumption = "a program appends", "Between the begin and the end of an append, only this server writes to the file"

    def change(self, path):
        with open(path, "ab") as file:
            file.write(MORE)


class Save(Act):
    name, assumption = "a program saves by rename", "What this run wrote is what is there after a new connection"

    def change(self, path):
        new = path.with_name("other program's file")
        new.write_bytes(self.random.randbytes(self.random.choice([path.stat().st_size, 15_000])))
        new.chmod(0o666)
        new.rename(path)


class Map(Act):
    name, assumption = "a program writes by mmap", "A local file that is sent keeps its content"

    def change(self, path):
        # The time stays as it was, as that of a page which was dirty before.
        found = path.stat()
        if found.st_size:
            with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
                view[0] ^= 1
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


class Away(Act):
    name, assumption = "a program moves away", "The file keeps its name while it grows"

    def change(self, path):
        path.rename(path.with_name("moved away"))


class Touch(Act):
    name, assumption = "a program sets times", "A file keeps its inode number, size and time until it is replaced"

    def change(self, path):
        os.utime(path, (1_577_934_245, 1_577_934_245))


class Link(Act):
    name, assumption = "a program links", "After `rename`, the old name is gone"

    def change(self, path):
        with contextlib.suppress(FileExistsError):
            os.link(path, path.with_name("linked"))


ACTS: list[type[Act]] = [Append, Save, Map, Away, Touch, Link]
ALL: dict[str, type[Switch]] = {one.name: one for one in (*DIALOGUES, *DISKS, *ACTS)}
KINDS = ("dialogue", "disk", "act")


def check() -> None:
    """Checks that each switch makes a row of the ledger false."""
    rows = (TOP / "docs/dev/assumptions.md").read_text()
    unknown = [name for name, one in ALL.items() if f"\n| {one.assumption} |" not in rows]
    if unknown:
        raise Unavailable(f"no row of docs/dev/assumptions.md is that of {', '.join(unknown)}")


def some(chance: random.Random, kinds: tuple[str, ...] = KINDS) -> list[str]:
    """Draws three to five switches. A side has one disk."""
    names = [name for name, one in ALL.items() if one.kind in kinds]
    drawn: list[str] = []
    count = chance.randint(3, 5)
    for name in chance.sample(names, len(names)):
        sides = {ALL[one].side for one in drawn} - {""}
        if len(drawn) < count and ALL[name].side not in sides:
            drawn.append(name)
    return drawn


class World:
    """The switches that are on. Those of dialogues and acts begin again with each action."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.disks, self.dialogues, self.acts = names, [], [], []
        self._counted: dict[str, int] = {}

    @contextlib.contextmanager
    def setup(self, top: pathlib.Path) -> Iterator["World"]:
        with contextlib.ExitStack() as stack:
            for name in self.names:
                if issubclass(ALL[name], Lies):
                    self.disks.append(ALL[name](random.Random()))
                    stack.enter_context(self.disks[-1].setup(top / f"disk {len(self.disks)}"))
            yield self

    def disk(self, side: str) -> Optional[Lies]:
        """Returns the disk of the server or the client, if it lies."""
        return next((one for one in self.disks if one.side == side), None)

    def begin(self, seed: str) -> None:
        """Begins an action. The choices of a switch do not depend on which others are on."""
        fresh = [ALL[name](random.Random(f"{seed}/{name}")) for name in self.names if ALL[name].kind != "disk"]
        self.dialogues = [one for one in fresh if isinstance(one, Dialogue)]
        self.acts = [one for one in fresh if isinstance(one, Act)]
        self._counted = {one.name: one.count for one in self.disks}

    def effects(self) -> dict[str, int]:
        """Returns how often each switch took effect in this action."""
        counts = {one.name: one.count - self._counted.get(one.name, 0) for one in (*self.disks, *self.dialogues, *self.acts)}
        return {name: count for name, count in counts.items() if count}

    def excuses(self, before: dict[str, int]) -> bool:
        """Returns whether a switch took effect since `before` with which a program may fail."""
        now = self.effects()
        return any(count > before.get(name, 0) and not ALL[name].is_free for name, count in now.items())

    def may(self, what: str) -> bool:
        """Returns whether something may be true because of a switch that took effect."""
        return any(what in ALL[name].may for name in self.effects())
