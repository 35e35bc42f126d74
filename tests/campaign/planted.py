"""Planted faults: each patch of `planted` is applied to a copy of the sources, which is built. The fault must be found.

If a fault is not found, the campaign is blind to it. The patches are like faults that servers and clients have had.
They change only the copy. The head of each patch says how to search for the fault, and has a regular expression for
the first finding:

    Search: soak 1
    Finding: rename .*: done, but found

`Search: watch 0` tests all promises, and `Search: worlds NAME` only that one. `Search: watch 2 --verbs=put --switches=restart`
runs the watch with these options, and `Search: cuts tmpfs, touch` the cuts with these names.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from findings import Findings, say
from place import TOP, Unavailable, ending_with_us

PATCHES = pathlib.Path(__file__).with_name("planted")


# The beginnings of the two lines in the head of a patch, and of a finding in the output of the campaign.
HEAD = re.compile(r"^Search: (?:(soak|watch) ([0-9.]+)((?: --.+)?)|(worlds|cuts) (.+))\nFinding: (.+)$", re.M)
FOUND = re.compile(r"^FOUND after [0-9.]+ s: (.*)$", re.M)
# The switches that a finding needs.
NEEDS = re.compile(r"^    (with switches .*); to repeat: ", re.M)


class Search(NamedTuple):
    """How to search for a fault: for some minutes with options, or, with worlds and cuts, by these names."""

    part: str
    minutes: float = 0
    words: tuple[str, ...] = ()


def head(path: pathlib.Path) -> tuple[Search, str]:
    """Returns how to search for a planted fault, and the pattern of the finding that must result."""
    said = HEAD.search(path.read_text().partition("\ndiff ")[0])
    if not said:
        raise Unavailable(f"{path.name}: missing Search and Finding")
    if said[4]:
        return Search(said[4], words=tuple(said[5].split(", "))), said[6]
    return Search(said[1], float(said[2]), tuple(f"--{option}" for option in said[3].split(" --")[1:])), said[6]


def ran(words: list[str], **options) -> subprocess.CompletedProcess:
    """Runs a program. It is terminated in order if this program ends."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*ending_with_us("TERM"), *words], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, **options
    )
    try:
        out, err = process.communicate()
    finally:
        process.terminate()
        process.wait()
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def build(top: str) -> str:
    """Builds the program of a copy of the sources, with an example that embeds the client, and returns its path."""
    target = TOP / "target/planted"
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "build", "--quiet", "--locked", "-p", "ftp-cli", "-p", "ftp-toolkit-client", "--bins"]
    command += ["--example", "files", "--manifest-path", f"{top}/Cargo.toml"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_PROFILE_DEV_DEBUG": "0"}
    built = ran(command, env=environment)
    if built.returncode:
        raise Unavailable(f"cargo build: {built.stderr[-2000:]}")
    return str(target / "debug/ftp-cli")


def apply(top: str, path: pathlib.Path, *options: str) -> None:
    """Applies a patch to a copy of the sources."""
    applied = ran(["git", "-C", top, "apply", *options, str(path)])
    if applied.returncode:
        raise Unavailable(f"{path.name} does not fit the sources: {applied.stderr.strip()}")


def search(program: str, how: Search, seed: int) -> tuple[int, str]:
    """Runs a part of the campaign. Returns its exit status, and its first finding or the reason for its failure."""
    words = [sys.executable, "-B", str(TOP / "tests/campaign"), how.part, "--minutes", f"{how.minutes:g}"]
    words += ["--seed", str(seed), "--program", program, "--first", *how.words]
    searched = ran(words)
    first, needs = FOUND.search(searched.stdout), NEEDS.search(searched.stdout)
    if not first:
        return searched.returncode, searched.stderr[-500:]
    return searched.returncode, first[1] + (f"; {needs[1]}" if needs else "")


def run(seed: int, names: list[str]) -> Findings:
    """Searches for each planted fault. Before that, checks that nothing is found in the unchanged sources."""
    findings = Findings("planted")
    patches = [path for path in sorted(PATCHES.glob("*.patch")) if not names or path.stem in names]
    with tempfile.TemporaryDirectory(prefix="ftp-planted-") as top:
        settings = ("-c", "advice.detachedHead=false", "-c", "init.defaultBranch=main")
        subprocess.run(["git", *settings, "clone", "--quiet", "--shared", str(TOP), top], check=True)
        program = build(top)
        for how in sorted({head(path)[0] for path in patches}):
            status, first = search(program, how, seed)
            if status:
                findings.add(f"{how.part} without a planted fault ends with {status}: {first}")
        for path in patches:
            apply(top, path)
            began, (how, wanted) = time.monotonic(), head(path)
            status, first = search(build(top), how, seed)
            apply(top, path, "--reverse")
            say(f"{path.stem}: {how.part} ends with {status} after {time.monotonic() - began:.0f} s, seed {seed}: {first[:300]}{first[300:][-120:]}")
            if status != 1 or not re.match(wanted, first):
                findings.add(f"{path.stem}: {how.part} ends with {status}, must find {wanted!r}, and found {first!r}")
    return findings
