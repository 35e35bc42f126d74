"""A copy of the workspace with all mutants in it, and the programs of tests that are built from it."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

# All code that has tests.
CRATES = ("ftp-server", "ftp-client")
# A mutant that does not compile can hide another one from the compiler.
ROUNDS = 12


class Unavailable(Exception):
    """Why there can be no run."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def decisive(top: pathlib.Path) -> list[str]:
    """The modules of server and client that ARCHITECTURE.md's table of decisions names."""
    text = (top / "ARCHITECTURE.md").read_text().split("## Where each decision is made")[1].split("\n## ")[0]
    found = set()
    for owner in re.findall(r"^\|[^|]*\|([^|]*)\|", text, re.MULTILINE):
        crate = owner.split()[0]
        if crate in CRATES:
            found |= {f"{crate}/src/{module}" for module in re.findall(r"`([^`]+)`", re.sub(r"\(.*?\)", "", owner))}
    return sorted(found)


class Copy:
    """`plain` has the sources as they are, `tree` those with mutants, and after the build those as they are."""

    def __init__(self, top: pathlib.Path, scratch: pathlib.Path, is_decisive: bool) -> None:
        self.top, self.scratch = top, scratch
        self.modules = decisive(top) if is_decisive else []
        self.plain, self.tree = scratch / "plain", scratch / "tree"

    def draw(self, seed: int, count: int) -> dict:
        """Draws mutants from the sources, and writes a copy that has them."""
        self._copy()
        return self._mutate(seed, count, set())

    def build(self, seed: int, count: int) -> dict:
        """Draws mutants and builds all tests; the mutants, those that do not compile, and the programs."""
        self._copy()
        self._prepare()
        invalid: set[int] = set()
        for _ in range(ROUNDS):
            drawn = self._mutate(seed, count, invalid)
            say(f"{len(drawn['mutants'])} mutants drawn from {drawn['found']} places in {drawn['files']} files; checking them")
            wrong, _ = self._cargo(drawn, "check", "--keep-going", "--workspace", "--lib")
            if not wrong:
                say("building all tests")
                wrong, programs = self._cargo(drawn, "test", "--workspace", "--no-run")
            if not wrong:
                break
            say(f"do not compile: {sorted(wrong)}")
            invalid |= wrong
        else:
            raise Unavailable(f"mutants still fail to compile after {ROUNDS} rounds")
        # Tests read sources too.
        for crate in CRATES:
            shutil.copytree(self.plain / crate / "src", self.tree / crate / "src", dirs_exist_ok=True)
            (self.tree / crate / "src/__mutant.rs").unlink()
        return {**drawn, "seed": seed, "invalid": [str(number) for number in sorted(invalid)], "programs": programs}

    def _copy(self) -> None:
        listed = subprocess.run(
            ["git", "-C", str(self.top), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True, capture_output=True, text=True,
        )
        for tree in (self.plain, self.tree):
            shutil.rmtree(tree, ignore_errors=True)
            for name in filter(None, listed.stdout.split("\0")):
                if (self.top / name).is_file():
                    (tree / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(self.top / name, tree / name)

    def _prepare(self) -> None:
        """Lets crates choose a mutant when they start, and tests pass the choice to the programs that they run."""
        for crate in CRATES:
            manifest = self.tree / crate / "Cargo.toml"
            manifest.write_text(manifest.read_text().replace("[dependencies]\n", "[dependencies]\nctor.workspace = true\n"))
        passed = '.env_clear().envs(std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FTP_MUTANT")))'
        for folder in ("ftp-cli/tests", "ftp-client/tests", "ftp-server/tests", "tests/src", "tests/suite", "tests/hostile"):
            for path in (self.tree / folder).rglob("*.rs"):
                text = path.read_text()
                if ".env_clear()" in text:
                    path.write_text(text.replace(".env_clear()", passed))

    def _mutate(self, seed: int, count: int, invalid: set[int]) -> dict:
        manifest = str(self.top / "tests/campaign/mutants/Cargo.toml")
        command = ["cargo", "run", "--quiet", "--locked", "--manifest-path", manifest]
        command += ["--target-dir", str(self.scratch / "driver"), "--", str(self.plain), str(self.tree)]
        command += [str(seed), str(count), ",".join(map(str, sorted(invalid))), *self.modules]
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if ran.returncode:
            raise Unavailable(f"ftp-mutants: {ran.stderr.strip()[-2000:]}")
        return json.loads(ran.stdout)

    def _cargo(self, drawn: dict, *words: str) -> tuple[set[int], list[dict]]:
        """Runs cargo; the mutants with errors, and the programs of tests."""
        environment = {
            **os.environ,
            "CARGO_TARGET_DIR": str(self.scratch / "target"),
            "CARGO_INCREMENTAL": "0",
            # Code that is never reached and parentheses are no errors here.
            "RUSTFLAGS": "--cap-lints warn -C force-frame-pointers=yes",
        }
        command = ["cargo", *words, "--message-format", "json"]
        log = self.scratch / "build.log"
        with log.open("w") as errors:
            pipe = subprocess.PIPE
            ran = subprocess.run(
                command, cwd=self.tree, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=errors, text=True
            )
        wrong, programs = set(), []
        for message in map(json.loads, ran.stdout.splitlines()):
            if message["reason"] == "compiler-message" and message["message"]["level"] == "error":
                found = mutants_of(message["message"], drawn)
                if not found and message["message"]["spans"]:
                    raise Unavailable(f"error outside of mutants: {message['message']['rendered'][:2000]}")
                wrong |= found
            elif message["reason"] == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
                crate = pathlib.Path(message["manifest_path"]).parent
                name = f"{crate.name} {message['target']['kind'][0]} {message['target']['name']}"
                programs.append({"name": name, "path": message["executable"], "directory": str(crate)})
        if ran.returncode and not wrong:
            raise Unavailable(f"cargo {words[0]} fails: {log.read_text()[-2000:]}")
        return wrong, sorted(programs, key=lambda program: program["name"])


def mutants_of(message: dict, drawn: dict) -> set[int]:
    """The mutants whose code an error is about: the smallest one around each place, the first places that have any."""
    notes = [span for child in message["children"] for span in child["spans"]]
    primary = [span for span in message["spans"] if span["is_primary"]]
    for spans in (primary, message["spans"], notes):
        found = {number for number in (mutant_around(span, drawn) for span in spans) if number}
        if found:
            return found
    return set()


def mutant_around(span: dict, drawn: dict) -> int | None:
    """The smallest mutant around a place."""
    around = [
        (end - start, mutant["number"])
        for mutant in drawn["mutants"]
        if mutant["file"] == span["file_name"]
        for start, end in mutant["ranges"]
        if start <= span["byte_start"] and span["byte_end"] <= end
    ]
    return min(around)[1] if around else None
