"""A model of the files on a server, based on what clients report. It shares no code with the toolkit.

A name holds bytes, or nothing. An action that a client reports as done leads to exactly one state. A failed
action leads to the state before it or the state after it, for all its names together, never to a mixture.
"""

import hashlib
from typing import NamedTuple, Optional

# The content of a file. None: the file does not exist.
Content = Optional[bytes]
# Some names, each with its content.
State = dict[str, Content]


class Torn(NamedTuple):
    """A file that grows in place from `old` to `new`. A crash of the server can leave any state in between."""

    name: str
    old: bytes
    new: bytes

    def allows(self, found: Content) -> bool:
        return found is not None and len(found) >= len(self.old) and self.new.startswith(found)


def describe(content: Content) -> str:
    """Returns length and digest of a content, as findings show them."""
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
        # Files whose replacement failed, by name and content: the server lets no client resume at their length.
        self._interrupted: set[tuple[str, str]] = set()

    def state(self, names) -> State:
        return {name: self.files.get(name) for name in names}

    def adopt(self, state: State) -> None:
        """Records what names hold."""
        for name, content in state.items():
            if content is None:
                self.files.pop(name, None)
            else:
                self.files[name] = content
                # A complete file replaces what a server kept of an upload of a new name.
                self._interrupted.discard((name, describe(None)))

    def interrupt(self, state: State) -> None:
        """Records that an upload of these files failed, or may have failed before a second try.

        Of a new name, the server may keep what it received, and APPE goes on there: that is how curl resumes.
        """
        self._interrupted |= {(name, describe(content)) for name, content in state.items()}

    def is_interrupted(self, name: str) -> bool:
        """Returns whether an upload of this file failed, even if the file was renamed meanwhile."""
        return (name, describe(self.files.get(name))) in self._interrupted

    def names(self) -> set[str]:
        return set(self.files) | self.directories


def verdict(before: State, after: State, found: State, done: bool, torn: Optional[Torn]) -> Optional[str]:
    """Returns what is wrong with the state that was found, if anything. `torn` is allowed after a failure."""
    if found == after or (not done and found == before):
        return None
    if not done and torn and torn.allows(found[torn.name]):
        return None
    if done:
        return f"done, but found {described(found)}; must be {described(after)}"
    return f"not done, and found {described(found)}; before {described(before)}; after {described(after)}"
