"""What a run found, and how often it did what."""

import collections
import sys
import threading
import time

# So much of what a program said is shown.
SHOWN = 1_500


class Findings:
    """Collects what is wrong, from all threads, and prints each as it comes."""

    def __init__(self, title: str, stops: bool = False) -> None:
        """`stops`: the first finding is enough."""
        self.title, self.stops, self.found = title, stops, []
        self.counts: collections.Counter = collections.Counter()
        self._lock, self._began = threading.Lock(), time.monotonic()

    def add(self, what: str) -> None:
        with self._lock:
            self.found.append(what)
            print(f"FOUND after {time.monotonic() - self._began:.1f} s: {what}", flush=True)

    def is_over(self) -> bool:
        """Whether to look no further."""
        return self.stops and bool(self.found)

    def count(self, *what: str) -> None:
        """Counts an action under each of some names."""
        with self._lock:
            self.counts.update(what)

    def least(self, names, least: int, kind: str) -> None:
        """Finds a fault of the run itself: something happened too seldom to prove anything."""
        for name in names:
            if self.counts[name] < least:
                self.add(f"{kind} {name} happened {self.counts[name]} times, and must {least} times")

    def seconds(self) -> float:
        return time.monotonic() - self._began


def shown(said: bytes) -> str:
    """What a program said, as one indented block."""
    text = said[-SHOWN:].decode(errors="backslashreplace").strip()
    return "".join(f"\n    {line}" for line in text.splitlines())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
