"""What a program must leave: compares the files of both sides with what the program reported."""

from typing import NamedTuple, Optional

import programs
from findings import indented, shown
from model import Content, describe
from proxy import Struck

# Maximum number of lines of a dialogue that a finding shows.
DIALOGUE = 60


class Ran(NamedTuple):
    """How a program ended, and what the proxy did and saw."""

    ended: programs.Ended
    struck: Optional[Struck]
    dialogue: list[str]
    # The number of uploads, and the bytes that the server has confirmed, if they must be the whole file.
    uploads: int
    confirmed: Content
    # The bytes of each whole upload that the server has confirmed.
    stored: list[bytes]
    # Whether a switch took effect meanwhile.
    is_odd: bool = False

    @property
    def code(self) -> int:
        return self.ended.code

    @property
    def said(self) -> bytes:
        return self.ended.said

    def shown(self) -> str:
        """Returns what was said and seen, as the lines of a finding."""
        return shown(self.said) + indented(self.dialogue[-DIALOGUE:] + self.ended.evidence.splitlines())


def is_second_try(ran: Ran, found: Content) -> bool:
    """Returns whether a file holds what a client sent when it tried a disturbed upload again: then the server is right.

    lftp can send wrong bytes in its second try, or leave out the last ones: see docs/reliability.md.
    """
    return bool(ran.struck or ran.is_odd) and ran.uploads > 1 and found in ran.stored


def wrong(what: str, found: Content, wanted: list[Content]) -> Optional[str]:
    if found in wanted:
        return None
    return f"the {what} holds {describe(found)}, must be {' or '.join(describe(content) for content in wanted)}"


def mirrored(found: dict, wanted: dict, old: dict, ran: Ran, lacks_names: bool = False) -> Optional[str]:
    """Checks a mirror against its report: complete after exit 0, otherwise with only old or new files. `lacks_names`:
    whether a listing left out names without a sign.
    """
    # A listing that the network cut without a sign looks like one of fewer files.
    is_lie = ran.struck and ran.struck.kind == "swallow" and ran.struck.verb in (b"LIST", b"MLSD", b"NLST")
    if ran.code == 0 and found != wanted and not is_lie and not lacks_names:
        names = [name for name in set(found) | set(wanted) if found.get(name) != wanted.get(name)]
        return f"done, but {sorted(names)} are not the same"
    torn = [name for name, held in found.items() if held not in (wanted.get(name), old.get(name))]
    return f"{sorted(torn)} are neither old nor new" if torn else None


def judge_peer(name, verb, code, struck, before, after, local, others) -> Optional[str]:
    """Returns what is wrong after another client has used our server, if anything. `others` is what programs left in the
    file meanwhile.
    """
    (old, new), (found, moved) = before, after
    if verb == "put":
        lied = struck and struck.kind in ("swallow", "error")
        if code == 0:
            # Only some clients compare sizes, and both sides saw an orderly end.
            return None if lied else wrong("remote file", found, [new])
        # rclone removes incomplete uploads.
        allowed = [old, new, *others] + ([None] if name == "rclone" or others else [])
        return None if lied else wrong("remote file", found, allowed)
    if verb == "get":
        # lftp goes on by itself, whatever has changed meanwhile.
        lied = struck and (struck.kind == "swallow" or bool(others))
        return wrong("local file", local, [old, *others]) if code == 0 and not lied else None
    if verb == "rename":
        states = [(None, old)] if code == 0 else [(None, old), (old, None)]
        return None if (found, moved) in states else f"{describe(found)}, {describe(moved)}"
    return wrong("remote file", found, [None] if code == 0 else [None, old])
