"""The actions of a worker: each is an order for a client, with the state that must follow."""

import pathlib
import random
from typing import NamedTuple, Optional

from clients import Order
from model import Content, State, Torn, Tree

# Every name is valid, and some client or server has handled each one wrongly.
NAMES = ("a", "b.bin", "with space", "ümlaut", "-dash", ".dot", "quote'1", "hash#1", "per%41cent", "semi;colon")
DIRECTORIES = ("sub", "sub two", ".sub")
# All workers write these files at once. Each file must be complete, and come from one worker.
SHARED = ("c0", "c1", "c2")
VERBS = ("get", "put", "append", "resume", "continue", "rename", "delete", "list", "mkdir", "rmdir", "missing", "race")
SIZES = (0, 1, 1_000, 65_535, 65_536, 65_537, 150_000, 300_001)
# Sizes of a file, and a rate, with which a transfer takes about a second: long enough to break it.
LONG, RATE = (1_000_000, 1_600_000), 1_200_000


class Action(NamedTuple):
    """An order, and its required result."""

    name: str
    order: Order
    # What the names hold after success.
    after: State = {}
    # Whether the order can succeed.
    works: bool = True
    # Whether the server may refuse the order once: a client that has asked for the size of an unfinished upload gets
    # 450 for its first download (FS-15).
    may_fail: bool = False
    # The content that a download must have.
    gives: Content = None
    # The content of the local file before the action.
    local: Content = None
    # The names that a listing must have.
    lists: Optional[frozenset[str]] = None
    # The directory that is created or removed.
    directory: str = ""
    torn: Optional[Torn] = None


class Maker:
    """Makes the actions of one worker."""

    def __init__(self, tree: Tree, base: str, local: pathlib.Path, chance: random.Random) -> None:
        """`base` is the worker's directory on the server."""
        self.tree, self.base, self.local, self.random = tree, base, local, chance
        self.attempted: dict[str, set[bytes]] = {}

    def make(self, verb: str, slow: bool) -> Action:
        """Returns an action of this kind, or a `put` if this kind needs a file and there is none."""
        rate = RATE if slow else 0
        action = getattr(self, f"_{verb}")(rate)
        return action or self._put(rate)

    def _content(self, rate: int) -> bytes:
        size = self.random.randint(*LONG) if rate else self.random.choice(SIZES)
        return self.random.randbytes(size)

    def _path(self, name: str) -> str:
        return f"{self.base}/{name}"

    def some(self, rate: int = 0) -> Optional[str]:
        """Returns the name of an existing file, of a large one if the transfer must be slow; None if there is none."""
        names = sorted(name for name, held in self.tree.files.items() if not rate or len(held) >= LONG[0])
        return self.random.choice(names) if names else None

    def _written(self, content: bytes) -> str:
        path = self.local / "up"
        path.write_bytes(content)
        return str(path)

    def _put(self, rate: int) -> Action:
        name, content = self.random.choice(NAMES), self._content(rate)
        order = Order("put", self._path(name), local=self._written(content), rate=rate)
        return Action("put", order, {name: content})

    def _append(self, rate: int) -> Optional[Action]:
        name, more = self.random.choice(NAMES), self._content(rate)
        if self.tree.is_interrupted(name):
            return None
        old = self.tree.files.get(name)
        new = (old or b"") + more
        order = Order("append", self._path(name), local=self._written(more), rate=rate)
        return Action("append", order, {name: new}, torn=old is not None and Torn(name, old, new) or None)

    def _continue(self, rate: int) -> Optional[Action]:
        name = self.some()
        if name is None or self.tree.is_interrupted(name):
            return None
        old = self.tree.files[name]
        new = old + self._content(rate)
        order = Order("continue", self._path(name), local=self._written(new), rate=rate)
        return Action("continue", order, {name: new}, torn=Torn(name, old, new))

    def _get(self, rate: int) -> Optional[Action]:
        name = self.some(rate)
        if name is None:
            return None
        target = self.local / "down"
        held = self.random.choice([None, b"old local content"])
        target.unlink(missing_ok=True)
        if held is not None:
            target.write_bytes(held)
        order = Order("get", self._path(name), local=str(target), rate=rate)
        may_fail = self.tree.is_interrupted(name)
        return Action("get", order, may_fail=may_fail, gives=self.tree.files[name], local=held)

    def _resume(self, rate: int) -> Optional[Action]:
        name = self.some(rate)
        # The server refuses the first download of an unfinished upload (FS-15).
        if name is None or self.tree.is_interrupted(name):
            return None
        content, target = self.tree.files[name], self.local / "down"
        held = content[: self.random.randint(0, len(content))]
        target.write_bytes(held)
        order = Order("resume", self._path(name), local=str(target), rate=rate)
        return Action("resume", order, gives=content, local=held)

    def _rename(self, _: int) -> Optional[Action]:
        name, to = self.some(), self.random.choice(NAMES)
        if name is None or name == to:
            return None
        order = Order("rename", self._path(name), to=self._path(to))
        return Action("rename", order, {name: None, to: self.tree.files[name]})

    def _delete(self, _: int) -> Optional[Action]:
        name = self.some()
        return name and Action("delete", Order("delete", self._path(name)), {name: None})

    def _list(self, _: int) -> Action:
        return Action("list", Order("list", self.base), lists=frozenset(self.tree.names()))

    def _mkdir(self, _: int) -> Action:
        name = self.random.choice(DIRECTORIES)
        works = name not in self.tree.directories
        return Action("mkdir", Order("mkdir", self._path(name)), works=works, directory=name)

    def _rmdir(self, _: int) -> Action:
        name = self.random.choice(DIRECTORIES)
        works = name in self.tree.directories
        return Action("rmdir", Order("rmdir", self._path(name)), works=works, directory=name)

    def _missing(self, _: int) -> Optional[Action]:
        """Returns an action on a missing file: it must fail and change nothing.

        A deletion can succeed: a partial upload may be kept under that name.
        """
        names = [name for name in NAMES if name not in self.tree.files]
        if not names:
            return None
        name, verb = self.random.choice(names), self.random.choice(["get", "rename"])
        target = self.local / "down"
        target.unlink(missing_ok=True)
        order = Order(verb, self._path(name), to=self._path(self.random.choice(NAMES)), local=str(target))
        return Action("missing", order, works=False)

    def _race(self, rate: int) -> Action:
        """Returns an upload to a file that other workers write too."""
        name, content = self.random.choice(SHARED), self._content(rate)
        self.attempted.setdefault(name, set()).add(content)
        return Action("race", Order("put", f"/shared/{name}", local=self._written(content), rate=rate))
