"""Says whether a table that was made again shows the same as the one that is kept.

    same.py KEPT MADE

Sizes, rates, times and ports may differ. Rows and their order, words, colours, exit codes and other numbers may not. Prints
what differs, and then fails.
"""

import difflib
import pathlib
import re
import sys

VARIES = [
    (r"\b\d+\.\d+ [KMG]iB", "SIZE"),
    (r"\b\d+\.\d+ s\b", "TIME"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b", "TIME"),
    (r":3000\d\b", ":PORT"),
]


def recorded(rows):
    """The rows of a recording. When a line is drawn again depends on the machine; that the command does so does not."""
    moves = False
    for _, kind, words in rows:
        moves |= kind == "~"
        if kind == "=" and moves:
            words, moves = f"{words}, after progress", False
        if kind != "~":
            yield kind, words


def shown(path):
    rows = [row.split("\t") for row in pathlib.Path(path).read_text().splitlines()]
    if rows[0][1] == "$":
        rows = recorded(rows)
    for row in rows:
        words = "\t".join(row)
        for pattern, word in VARIES:
            words = re.sub(pattern, word, words)
        yield words


kept, made = (list(shown(path)) for path in sys.argv[1:])
differences = list(difflib.unified_diff(kept, made, "kept", "made again", lineterm=""))
print("\n".join(differences) if differences else f"{sys.argv[1]}: still true", flush=True)
sys.exit(bool(differences))
