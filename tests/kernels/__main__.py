"""Runs the program on stand-ins for old kernels, and on file systems with special rules.

    sudo python3 -B tests/kernels [--program FILE] [--under COMMAND] [--no-tls] [--verbose] [NAME]...

A filter of system calls makes calls fail with ENOSYS, as on kernels before these calls, or with EPERM,
as old profiles of containers do. On each stand-in, a server plays dialogues, and the client runs command
lines. File systems are mounted, which needs root and FUSE; those that cannot be mounted are left out. There,
the options for times and existing files are tried too, once with the server and once with the client on it.

NAME is the beginning of a case's name, such as 3.10, statx or exfat (default: all cases). The case "plain",
which runs only if it is named, lacks nothing.

--program  test this program (default: target/debug/ftp-cli)
--under    run the program under this command, such as an emulator
--no-tls   the program was built without TLS
--verbose  print the messages of each server

Exit status: 1 if a dialogue or command line fails, or with FTP_REQUIRE_PEERS=1 if a case is left out.
"""

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import dialogues
import standins

# What the server says at startup if it lacks a call.
SAID = {
    "openat2": "(no openat2)", "landlock_create_ruleset": "without Landlock", "statx": "lacks statx",
    "renameat2": "lacks renameat2", "copy_file_range": "lacks copy_file_range",
}
NO_PROC = 'umount -l /proc && exec "$@"'


class Served:
    """A running server, whose command may begin with a program that deprives it of something."""

    def __init__(self, command, has_tls, top, root):
        command = [*command, "serve", "--listen", "127.0.0.1:0", "-u", "u:p", "--write"]
        command += ["--tls-self-signed"] * has_tls + ["--set", "transfer.sync=none", root]
        environment = dict(os.environ, XDG_STATE_HOME=os.path.join(top, "state"))
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.said, self.port = "", None
        for line in self.process.stderr:
            self.said += line
            if "listening on 127.0.0.1:" in line:
                self.port = int(line.rsplit(":", 1)[1])
            if " may read and write" in line:
                break
        if self.port is None:
            self.process.wait()
            raise AssertionError(f"the server does not start: {self.said.strip()}")
        # The pipe must not become full.
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        for line in self.process.stderr:
            self.said += line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def remove(by, path):
    """Removes an object. FUSE keeps a hidden name for a removed file as long as a session has it open."""
    end = time.monotonic() + 10
    while True:
        try:
            return by(path)
        except OSError:
            if not os.path.lexists(path):
                return None
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def fill(root):
    """Empties the root, and fills it with the files of the dialogues."""
    for name in os.listdir(root):
        path = os.path.join(root, name)
        is_tree = os.path.isdir(path) and not os.path.islink(path)
        remove(shutil.rmtree if is_tree else os.remove, path)
    for name in "de":
        os.mkdir(os.path.join(root, name))
    dialogues.store(root, "f")
    dialogues.store(root, "d/g", b"g")


class Case:
    """The dialogues and command lines on one stand-in."""

    def __init__(self, name, options):
        self.name, self.is_verbose, self.has_tls = name, options.verbose, not options.no_tls
        self.is_emulated = bool(options.under)
        self.program = [*options.under.split(), os.path.abspath(options.program)]
        self.failed, self.passed = [], 0

    def served(self, prefix, top, root):
        return Served([*prefix, *self.program], self.has_tls, top, root)

    def run(self, what, act):
        try:
            result = act()
            self.passed += 1
            return result
        except Exception as error:  # any failure of a dialogue is a finding
            self.failed.append(f"{self.name}: {what}: {error or type(error).__name__}")

    def play(self, prefix, top, root, said=(), acts=dialogues.SERVER, client=None):
        client = prefix if client is None else client

        def dialogue(served, act):
            fill(root)
            session = dialogues.Session(served.port)
            session.port = served.port
            act(session, root)

        def has_said(text):
            assert text in served.said, f"not in the log: {text}: {served.said}"

        try:
            served = self.served(prefix, top, root)
        except AssertionError as error:
            self.failed.append(f"{self.name}: {error}")
            return
        with served:
            for text in said:
                self.run("startup", lambda: has_said(text))
            for act in acts:
                if self.has_tls or act is not dialogues.secured:
                    self.run(act.__name__, lambda: dialogue(served, act))
            fill(root)
            here = os.path.join(top, "here")
            os.makedirs(here, exist_ok=True)
            for words, check in dialogues.CLIENT[: None if self.has_tls else -1]:
                command = [*client, *self.program]
                ran = lambda: dialogues.run_client(command, served.port, here, root, words)
                if self.run(words, ran) and check:
                    self.run(words, lambda: check(here, root))
            self.run("resumed", lambda: dialogues.resumed([*client, *self.program], served.port, here, root))
            if self.is_verbose:
                print(served.said)

    def play_options(self, top, root):
        """The options of files that depend on the file system, on both sides."""
        plain = os.path.join(top, "plain")
        os.mkdir(plain)
        for served, here in ((root, plain), (plain, root)):
            with self.served([], top, served) as server:
                client = lambda words: dialogues.said(
                    dialogues.run_client(self.program, server.port, here, served, words)
                )
                for act in dialogues.OPTIONS:
                    fill(served)
                    fill(here)
                    side = "server" if served is root else "client"
                    self.run(f"{act.__name__} ({side})", lambda: act(client, here, served))

    def mirror_twice(self, top, root):
        """Mirrors a tree to and from the root twice. The second run must copy nothing."""
        source = os.path.join(top, "source")
        os.makedirs(os.path.join(source, "d"))
        for name, time_of_file in (("odd", 1_600_000_001), ("even", 1_600_000_000), ("d/now", time.time())):
            dialogues.store(source, name)
            os.utime(os.path.join(source, name), (time_of_file, time_of_file))
        fill(root)
        with self.served([], top, root) as served:
            for words in ("mirror -v HERE/source URL/tree", "mirror -v URL/tree HERE/target"):
                for wanted in ("3 files copied", "3 files unchanged"):
                    ran = lambda: dialogues.run_client(self.program, served.port, top, root, words)
                    run = self.run(words, ran)
                    if run:
                        self.run(words, lambda: has(dialogues.said(run), wanted))
        # Then from the file system with special rules.
        with self.served([], top, source) as served:
            for wanted in ("3 files copied", "3 files unchanged"):
                words = "mirror -v URL/ HERE/root/again"
                ran = lambda: dialogues.run_client(self.program, served.port, top, source, words)
                run = self.run(words, ran)
                if run:
                    self.run(words, lambda: has(dialogues.said(run), wanted))

    def refused_if_required(self, prefix, root):
        command = [*prefix, *self.program, "serve", "--listen", "127.0.0.1:0", "--set", "security.confine=require"]
        run = subprocess.run([*command, root], capture_output=True, text=True, timeout=20, check=False)
        assert run.returncode == 14 and "cannot confine sessions" in run.stderr, run.stderr


def has(text, wanted):
    assert wanted in text, f"not {wanted}: {text.strip()}"


# The dialogues that cannot work on a file system with special rules, and those that work only there.
DISKS = {
    "exfat-fuse": ([*dialogues.LINKS, dialogues.chmod], [dialogues.illegal_names]),
    "ntfs-3g": ([dialogues.chmod], [dialogues.illegal_names]),
    "bindfs": ([], []),
    "vfat": ([*dialogues.LINKS, dialogues.chmod], [dialogues.illegal_names]),
}
# Cases for the kernel of tests/kernels/uml: they run only if they are named.
NAMED = {"nfs": ([], [])}


def places(top):
    root = os.path.join(top, "root")
    os.mkdir(root)
    os.mkdir(os.path.join(top, "outside"))
    dialogues.store(os.path.join(top, "outside"), "secret", b"secret")
    return root


def play_kernel(case, code, calls, interpreter):
    with tempfile.TemporaryDirectory(prefix="ftp-kernels-") as top:
        root = places(top)
        prefix = standins.without(code, calls, interpreter) if calls else []
        # An emulator makes some calls otherwise than the program.
        said = [text for call, text in SAID.items() if call in calls and not case.is_emulated]
        case.play(prefix, top, root, said)
        if said[:1] and {"openat2", "landlock_create_ruleset"} & set(calls):
            case.run("security.confine", lambda: case.refused_if_required(prefix, root))
    return case


def play_without_proc(case):
    with tempfile.TemporaryDirectory(prefix="ftp-kernels-") as top:
        root = places(top)
        prefix = ["unshare", "--mount", "sh", "-c", NO_PROC, "sh"]
        # Without /proc, the client writes no trees, and says so.
        case.play(prefix, top, root, ["lacks /proc"], client=[])
    return case


def play_disk(case, without, more):
    """Returns None if the file system cannot be mounted."""
    with tempfile.TemporaryDirectory(prefix="ftp-kernels-") as top:
        root = places(top)
        try:
            with standins.mounted(case.name, top):
                acts = [act for act in dialogues.SERVER if act not in without]
                case.play([], top, root, acts=acts + more)
                case.play_options(top, root)
                case.mirror_twice(top, root)
        except standins.Unmountable as error:
            print(f"skipped: {case.name}: {error}")
            return None
    return case


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/debug/ftp-cli")
    parser.add_argument("--under", default="")
    parser.add_argument("--no-tls", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    is_wanted = lambda name: not options.names or any(name.startswith(one) for one in options.names)
    case = lambda name: Case(name, options)
    interpreter = standins.python()
    left_out, runs = [], []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for name, (code, calls) in standins.cases().items():
            if is_wanted(name) and interpreter:
                runs.append((name, pool.submit(play_kernel, case(name), code, calls, interpreter)))
            elif is_wanted(name):
                left_out.append(name)
        if "plain" in options.names:
            runs.append(("plain", pool.submit(play_kernel, case("plain"), 0, [], interpreter)))
        if is_wanted("no /proc"):
            runs.append(("no /proc", pool.submit(play_without_proc, case("no /proc"))))
        for name, (without, more) in [*DISKS.items(), *NAMED.items()]:
            if is_wanted(name) and (options.names or name not in NAMED):
                runs.append((name, pool.submit(play_disk, case(name), without, more)))
        failed = []
        for name, run in runs:
            result = run.result()
            if result is None:
                left_out.append(name)
                continue
            failed += result.failed
            print(f"{name:32} {result.passed:3} passed, {len(result.failed)} failed", flush=True)
    for line in failed:
        print(line)
    # Kernels without FAT are common.
    missing = [name for name in left_out if name != "vfat"]
    if missing:
        print(f"left out: {', '.join(missing)}")
    return bool(failed or (missing and os.environ.get("FTP_REQUIRE_PEERS") == "1"))


sys.exit(main())
