"""What files hold, by what clients were told: a model of the promises that shares no code with the toolkit.

A name holds bytes, or nothing. An action that a client reports as done leads to exactly one state. One that
failed leads to the state before it or after it, of all its names together, and never to a mixture.
"""

import hashlib
from typing import NamedTuple, Optional

# What a name holds. None: there is no such file.
Content = Optional[bytes]
# Some names, and what each of them holds.
State = dict[str, Content]


class Torn(NamedTuple):
    """A file that grows in place, and what a crash of the server can leave: `old`, and a part of the rest of `new`."""

    name: str
    old: bytes
    new: bytes

    def allows(self, found: Content) -> bool:
        return found is not None and len(found) >= len(self.old) and self.new.startswith(found)


def describe(content: Content) -> str:
    """Length and digest of a content, as findings name it."""
    if content is None:
        return "nothing"
    return f"{len(content)} bytes {hashlib.sha256(content).hexdigest()[:12]}"


def described(state: State) -> str:
    return ", ".join(f"{name!r}: {describe(content)}" for name, content in sorted(state.items()))


class Tree:
    """The files and empty directories in the directory of a worker."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.directories: set[str] = set()
        # Files whose replacement failed, by name and content: the server lets nobody resume that.
        self._interrupted: set[tuple[str, str]] = set()

    def state(self, names) -> State:
        return {name: self.files.get(name) for name in names}

    def adopt(self, state: State) -> None:
        """Takes over what names hold."""
        for name, content in state.items():
            if content is None:
                self.files.pop(name, None)
            else:
                self.files[name] = content

    def interrupt(self, state: State) -> None:
        """Notes that a replacement of these files failed, or may have failed before a second try."""
        self._interrupted |= {(name, describe(content)) for name, content in state.items() if content is not None}

    def is_interrupted(self, name: str) -> bool:
        """Whether a replacement of this file failed, even if it had another name since."""
        return (name, describe(self.files.get(name))) in self._interrupted

    def names(self) -> set[str]:
        return set(self.files) | self.directories


def verdict(before: State, after: State, found: State, done: bool, torn: Optional[Torn]) -> Optional[str]:
    """What is wrong with the state that was found, if anything; `torn` if the server crashed meanwhile."""
    if found == after or (not done and found == before):
        return None
    if not done and torn and torn.allows(found[torn.name]):
        return None
    if done:
        return f"done, but found {described(found)}; must be {described(after)}"
    return f"not done, and found {described(found)}; before {described(before)}; after {described(after)}"
