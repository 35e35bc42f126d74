"""Actions of the watch with trees: mirrors, deploys and removals, beside files that must stay."""

import os
import pathlib
import shutil
from typing import TYPE_CHECKING, Optional

from model import Content
from outcomes import Ran, mirrored
from proxy import Plan
from server import HIDDEN

if TYPE_CHECKING:
    from watch import Eyes

# The files of a mirrored tree.
TREE = ("one", "two.bin", ".three", "sub/four", "sub/.five")
# What the target of a mirror with deletions has beside them, and what of that must stay: the option excludes it.
EXTRAS = ("extra", "sub/extra", "gone/one", "gone/deep/two")
KEPT = ("keep.db", "gone/keep.db", "gone/deep/keep.db")
# A hidden file of our server, which is none of a tree.
PART = ".ftp-upload-0123456789abcdef-f.part"
KEEP = ("--exclude", "*.db")
VERBS = ("mirror down", "mirror up", "mirror move", "mirror delete down", "mirror delete up", "deploy", "remove tree")
# A time of all files: an even number of seconds.
OLD = 1_700_000_000


def put(path: pathlib.Path, content: Content) -> None:
    """Writes a file that every server may read and replace."""
    path.unlink(missing_ok=True)
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o666)


def held(path: pathlib.Path) -> Content:
    return path.read_bytes() if path.is_file() else None


def tree(top: pathlib.Path) -> dict[str, bytes]:
    """Returns the files below a directory, without partial files that our client or server keeps."""
    paths = [path for path in top.rglob("*") if path.is_file() and not path.name.endswith(".part")]
    paths = [path for path in paths if not path.name.startswith(HIDDEN)]
    return {str(path.relative_to(top)): path.read_bytes() for path in paths}


def make(top: pathlib.Path, files: dict[str, bytes], when: int = OLD) -> None:
    """Makes a tree that every server may change, all of one time."""
    top.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        put(top / name, content)
        os.utime(top / name, (when, when))
    for path in (top, *top.rglob("*")):
        if path.is_dir():
            path.chmod(0o777)


def gone(top: pathlib.Path, files: dict[str, bytes]) -> list[str]:
    """Returns which of these files a tree does not have."""
    return sorted(name for name, content in files.items() if held(top / name) != content)


class Trees:
    """The actions with trees of one program with one server."""

    def fill(self) -> None:
        for path in list(self.up.iterdir()):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def make_tree(self) -> None:
        """Creates the directories of a mirror, writable for every server."""
        (self.up / "tree/sub").mkdir(parents=True)
        for path in (self.up / "tree", self.up / "tree/sub"):
            path.chmod(0o777)

    def listing(self) -> list[str]:
        return self.random.choice([[], ["--listing", "list"]])

    def some(self, names: tuple[str, ...]) -> dict[str, bytes]:
        return {name: self.random.randbytes(self.random.choice([1, 1_000, 30_000])) for name in names}

    def _mirror_down(self: "Eyes") -> None:
        self.fill()
        shutil.rmtree(self.mirrored, ignore_errors=True)
        there = {name: self.content() for name in TREE}
        old = {name: b"old" for name in TREE[:3]}
        self.make_tree()
        for name, content in there.items():
            put(self.up / "tree" / name, content)
        for name, content in old.items():
            put(self.mirrored / name, content)
        plan = self.plan(turns=6)
        ran = self.ours(self.words("mirror", *self.listing(), self.url("tree"), self.seen(self.mirrored)), plan)
        self.judge("mirror down ''", ran, [mirrored(tree(self.mirrored), there, old, ran, self.world.may("names"))])
        self.fill()

    def _mirror_up(self: "Eyes") -> None:
        self.fill()
        shutil.rmtree(self.mirrored, ignore_errors=True)
        self.make_tree()
        here, old = {name: self.content() for name in TREE}, {}
        put(self.mirrored / PART, b"a part of an upload that a server is receiving")
        if self.random.random() < 0.5:
            # As many bytes as before, so that the size tells nothing.
            old = {"one": self.random.randbytes(len(here["one"])), "sub/four": b"old"}
            make(self.up / "tree", old)
        for name, content in here.items():
            put(self.mirrored / name, content)
        words = self.words("mirror", *self.retries(), self.seen(self.mirrored), self.url("tree"))
        ran = self.ours(words, self.plan(b"STOR", turns=5))
        left = self.settle_ours()
        there = tree(self.up / "tree")
        if self.world.may("claims") or b"delete it yourself" in ran.said:
            # The client's test file stays: it has no sign of that, or says so.
            there = {name: content for name, content in there.items() if not name.endswith(".ftp-cli-clock.tmp")}
        if held(self.up / "tree" / PART) is not None:
            left = left or f"{PART} was published"
        problem = mirrored(there, here, old, ran) if ran.code == 0 or self.is_atomic else None
        if ran.struck and ran.struck.kind in ("swallow", "error") and ran.code:
            problem = None
        self.judge("mirror up ''", ran, [left or problem])
        self.fill()

    def _mirror_move(self: "Eyes") -> None:
        """Tests that a source goes only if the server has its last content, whatever a program does to it meanwhile."""
        self.fill()
        shutil.rmtree(self.mirrored, ignore_errors=True)
        self.make_tree()
        here = {name: self.content() for name in TREE}
        for name, content in here.items():
            put(self.mirrored / name, content)
        one = self.random.choice(TREE)
        put(self.up / "tree" / one, self.random.randbytes(len(here[one])))
        self.subject = self.mirrored / self.random.choice(TREE), b"STOR"
        options = ["--remove-source", *self.retries(), *self.random.choice([[], ["--temp"], ["-j", "3"]])]
        ran = self.ours(self.words("mirror", *options, self.seen(self.mirrored), self.url("tree")), self.plan(b"STOR", turns=5))
        left = self.settle_ours()
        if self.left_by_others:
            here[str(self.subject[0].relative_to(self.mirrored))] = self.left_by_others[-1]
        have = [held(path) for top in (self.up, self.mirrored) for path in top.rglob("*") if path.is_file()]
        lost = sorted(name for name, content in here.items() if content is not None and content not in have)
        # What is unchanged by its size and time, and differs, stays.
        ran = ran._replace(is_odd=True)
        self.judge(f"mirror {options} ''", ran, [left or (f"nobody has the last content of {lost}" if lost else None)])
        self.fill()

    def _mirror_delete_down(self: "Eyes") -> None:
        """Tests that only what the server lacks is deleted here."""
        self.fill()
        shutil.rmtree(self.mirrored, ignore_errors=True)
        files, extras, kept = self.some(TREE), self.some(EXTRAS), self.some(KEPT)
        make(self.up / "tree", files)
        make(self.mirrored, {**files, **extras, **kept})
        options = ["--delete", *KEEP, *self.listing(), *self.retries(), *self.random.choice([[], ["-j", "3"]])]
        words = self.words("mirror", *options, self.url("tree"), self.seen(self.mirrored))
        ran = self.ours(words, self.plan(turns=6))
        self.judge_deletions(f"mirror {options} down ''", ran, self.mirrored, files, extras, kept)

    def _mirror_delete_up(self: "Eyes") -> None:
        """Tests that only extras are deleted there: nothing excluded, and nothing that a link leads to."""
        self.fill()
        shutil.rmtree(self.mirrored, ignore_errors=True)
        files, extras, kept = self.some(TREE), self.some(EXTRAS), self.some(KEPT)
        make(self.mirrored, files)
        linked = self.up / "linked"
        make(linked, {"precious": b"precious"})
        make(self.up / "tree", {**files, **extras, **kept})
        has_link = self.random.random() < 0.3
        if has_link:
            (self.up / "tree/gone/link").symlink_to("../../linked")
        if self.random.random() < 0.4:
            make(self.mirrored, {"new": b"new"})
            self.returns = self.mirrored / "extra", extras["extra"]
        options = ["--delete", *KEEP, *self.retries(), *self.random.choice([[], ["-j", "3"]])]
        words = self.words("mirror", *options, self.seen(self.mirrored), self.url("tree"))
        ran = self.ours(words, self.plan(turns=6))
        if held(self.mirrored / "extra") is not None:
            # Then it is not one any more, and the run says so.
            kept["extra"] = extras.pop("extra")
            ran = ran._replace(is_odd=True)
        left = self.settle_ours()
        problem = None if held(linked / "precious") == b"precious" else "what a link led to is gone"
        problem = problem or (f"sources are gone: {lost}" if (lost := gone(self.mirrored, files)) else None)
        title = f"mirror {options} up {'with a link ' if has_link else ''}''"
        # A link that cannot be told from a directory stays, and what is beside it. Through a gateway, each can be one.
        ran = ran._replace(is_odd=ran.is_odd or self.between is not None and ran.code == 12)
        self.judge_deletions(title, ran, self.up / "tree", files, {} if has_link else extras, kept, left or problem)

    def judge_deletions(
        self: "Eyes", title: str, ran: Ran, top: pathlib.Path, files: dict, extras: dict, kept: dict, more: Optional[str] = None
    ) -> None:
        """Checks that what must stay is there, and after exit 0 that the extras are gone."""
        lost = gone(top, {**files, **kept})
        left = [name for name in extras if held(top / name) is not None] if ran.code == 0 else []
        problem = f"must stay, and are gone or others: {lost}" if lost else f"done, but {left} are left" if left else None
        is_lie = ran.struck and ran.struck.kind == "swallow"
        self.judge(title, ran, [more or (None if is_lie and left and not lost else problem)])
        self.fill()

    def _deploy(self: "Eyes") -> None:
        """Tests that a deploy touches no file of others, and that the next one completes it."""
        self.fill()
        shutil.rmtree(self.mirrored, ignore_errors=True)
        www, files, theirs = self.up / "www", self.some((*TREE, "old/one", "old/two")), self.some(("old/theirs", "theirs"))
        # vsftpd makes no directories, and Pure-FTPd writes to none of root's.
        for name in ("sub", "old"):
            (www / name).mkdir(parents=True)
        make(www, {})
        make(self.mirrored, files)
        words = self.words("mirror", "--manifest", "--delete", *self.listing(), self.seen(self.mirrored), self.url("www"))
        first = self.ours(words, Plan())
        if first.code:
            self.judge("deploy ''", first, [])
            return self.fill()
        make(www, {**theirs})
        # Removed, changed in content alone, and new.
        shutil.rmtree(self.mirrored / "old")
        now = {**{name: files[name] for name in TREE}, "one": self.random.randbytes(len(files["one"])), "sub/new": b"new"}
        make(self.mirrored, now)
        edited = self.random.choice([None, "two.bin"])
        if edited:
            theirs[edited] = files[edited] + b"edited by others"
            put(www / edited, theirs[edited])
            make(self.mirrored, {edited: b"another version"})
            now.pop(edited)
        ran = self.ours(words, self.plan(b"STOR", turns=4))
        left = self.settle_ours()
        problem = f"files of others are gone or changed: {lost}" if (lost := gone(www, theirs)) else None
        if ran.code == 0:
            there = {name for name in tree(www) if not name.startswith(".ftp-cli-")}
            problem = problem or (f"done, but {odd} are not as they must be" if (odd := gone(www, now)) else None)
            extra = sorted(there - {*now, *theirs})
            if self.world.may("names"):
                # What no listing showed stays with its record, and goes in the next deploy.
                records = (www / ".ftp-cli-manifest.json").read_text()
                extra = [name for name in extra if f'"path":"{name}"' not in records]
            problem = problem or (f"done, but {extra} are left" if extra else None)
            problem = problem or (f"done, although {edited} was edited" if edited else None)
        # Through a gateway, each directory can be a link, and stays.
        may_refuse = bool(edited) or self.between is not None and ran.code == 12
        self.judge("deploy again ''", ran._replace(is_odd=ran.is_odd or may_refuse), [left or problem])
        self.fill()

    def _remove_tree(self: "Eyes") -> None:
        """Tests that the removal of a tree removes all of it, and nothing that a link leads to."""
        self.fill()
        linked, top = self.up / "linked", self.up / "tree"
        make(linked, {"precious": b"precious"})
        make(top, self.some(EXTRAS))
        has_link = self.random.random() < 0.5
        if has_link:
            (top / "gone/link").symlink_to("../../linked")
        ran = self.ours(self.words("rm", "-r", *self.retries(), self.url("tree")), Plan())
        left = self.settle_ours()
        problem = None if held(linked / "precious") == b"precious" else "what a link led to is gone"
        if ran.code == 0 and top.exists():
            problem = problem or f"done, but {sorted(map(str, top.rglob('*')))} are left"
        # A link that cannot be told from a directory stays. A gateway knows no counts of links.
        may_refuse = has_link or self.between is not None and ran.code in (12, 14)
        self.judge("rm -r ''", ran._replace(is_odd=ran.is_odd or may_refuse), [left or problem])
        self.fill()
