"""The findings of a run, and how often each kind of action happened."""

import collections
import sys
import threading
import time
from typing import Callable

# Maximum bytes of a program's output that a finding shows.
SHOWN = 1_500


class Findings:
    """Collects findings from all threads, and prints each one at once."""

    def __init__(self, title: str, stops: bool = False) -> None:
        """`stops`: whether the run ends at the first finding."""
        self.title, self.stops, self.found, self.excused = title, stops, [], []
        self.counts: collections.Counter = collections.Counter()
        self._lock, self._began = threading.Lock(), time.monotonic()

    def add(self, what: str) -> None:
        with self._lock:
            self.found.append(what)
            print(f"FOUND after {time.monotonic() - self._began:.1f} s: {what}", flush=True)

    def excuse(self, why: str, what: str) -> None:
        """Prints what would be a finding, but is proved not to be the toolkit's fault, and counts it under `why`."""
        with self._lock:
            self.excused.append(what)
            self.counts.update([why])
            print(f"EXCUSED after {time.monotonic() - self._began:.1f} s, {why}: {what}", flush=True)

    def is_over(self) -> bool:
        """Returns whether the run can stop, because one finding is enough."""
        return self.stops and bool(self.found)

    def count(self, *what: str) -> None:
        """Counts an action under each of these names."""
        with self._lock:
            self.counts.update(what)

    def least(self, names, least: int, kind: str) -> None:
        """Adds a finding about the run itself for each name that was counted too rarely to prove anything."""
        for name in names:
            if self.counts[name] < least:
                self.add(f"{kind} {name} happened {self.counts[name]} times, and must {least} times")

    def seconds(self) -> float:
        return time.monotonic() - self._began


def fewest(items: list, shows: Callable[[list], bool]) -> list:
    """Returns the fewest of these items with which something still shows: delta debugging."""
    parts = 2
    while items:
        size = -(-len(items) // parts)
        for at in range(0, len(items), size):
            rest = items[:at] + items[at + size :]
            if shows(rest):
                items, parts = rest, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(items), parts * 2)
    return items


def shown(said: bytes) -> str:
    """Returns the end of a program's output as an indented block."""
    text = said[-SHOWN:].decode(errors="backslashreplace").strip()
    return indented(text.splitlines())


def indented(lines: list[str]) -> str:
    """Returns lines as an indented block."""
    return "".join(f"\n    {line}" for line in lines)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
