"""Ours beside other people's servers and clients, on the same files in memory, in one run.

    sudo python3 tests/bench/peers [--quick] [--write] [--program FILE] [ROW]...
    sudo python3 tests/bench/peers --bounds [--program FILE] [ROW]...

Servers and clients take turns, ROUNDS times (default: 7). Each row is printed with our median and its
spread, the best peer, the median of the ratios to it, and the goal. ROW is the name of a row in rows.py
or how some begin; without one, all rows are measured. A peer that is not installed or cannot do
something is left out, which is said.

--quick    run one round with small files, to see whether all of it works; the figures say nothing
--write    write the tables and pictures of docs/figures.md too; for that all rows are measured
--bounds   measure what has a bound in rows.py, of our program alone
--program  measure this release build of ftp-cli; without it, cargo builds one

ROUNDS, MIB (the large file, default: 1024) and MINUTES (no round begins that would end later, default:
15) are environment variables. Exit status: 1 if a goal or bound is missed, 2 if nothing can be measured.
"""

import argparse
import os
import signal
import subprocess
import sys
import time

import clients
import report
import rows
import servers
from place import QUICK, Place, Sizes

INSIDE, PROGRAM = "FTP_BENCH_INSIDE", "FTP_BENCH_PROGRAM"
# A peer for which one figure takes longer, in seconds, is not asked for it again.
SLOW = 5


def say(text):
    print(text, file=sys.stderr, flush=True)


def fail(why):
    say(f"peers: {why}")
    sys.exit(2)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--quick", "--write", "--bounds"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--program")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    wanted = parser.parse_args()
    if wanted.write and (wanted.rows or wanted.quick or wanted.bounds):
        fail("--write is for all rows")
    return wanted


def build(program, with_peers):
    """Builds what a run needs, as the user who called sudo. Returns the path of our program."""
    cargo = ["cargo"]
    if os.environ.get("SUDO_USER", "root") != "root":
        cargo = ["sudo", "-iu", os.environ["SUDO_USER"], "cargo"]
    release = ["build", "--quiet", "--release", "--locked"]
    features = ["--features", "libunftp"] if with_peers else []
    jobs = [[*release, *features, "--manifest-path", str(servers.TOP / "tests/bench/Cargo.toml")]]
    if not program:
        jobs.append([*release, "-p", "ftp-cli", "--manifest-path", str(servers.TOP / "Cargo.toml")])
    for job in jobs:
        say(f"+ cargo {' '.join(job)}")
        if subprocess.run([*cargo, *job], stdin=subprocess.DEVNULL).returncode:
            fail("cannot build")
    return os.path.realpath(program or servers.TOP / "target/release/ftp-cli")


def enter_network():
    """Runs this again in a separate network, where no port is taken."""
    if not os.environ.get(INSIDE):
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, "-B", *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # No TIME_WAIT: after some ten thousand connections, the search for a port would be what is measured.
    with open("/proc/sys/net/ipv4/tcp_max_tw_buckets", "w") as file:
        file.write("0")


def chosen(wanted):
    """The rows that are asked for, by table."""
    tables = {"servers": rows.SERVERS, "clients": rows.CLIENTS}
    names = tuple(wanted.rows) or ("",)
    found = {}
    for title, table in tables.items():
        found[title] = [row for row in table if row.name.startswith(names) and (row.bound or not wanted.bounds)]
    if not any(found.values()):
        fail(f"no row is called {' or '.join(names)}")
    return found


def contestants(program, alone):
    """Servers and clients that are installed, ours first, by table."""
    every = {"servers": servers.kinds(program, "--set", "transfer.sync=none"), "clients": clients.kinds(program)}
    if alone:
        return {title: kinds[:1] for title, kinds in every.items()}
    for kind in every["servers"] + every["clients"]:
        if not kind.is_installed():
            say(f"not installed, and left out: {kind.name}")
    return {title: [kind for kind in kinds if kind.is_installed()] for title, kinds in every.items()}


class Run:
    """The figures of each measurement, by contestant and round."""

    def __init__(self, place, tables, kinds):
        self.place, self.tables, self.kinds = place, tables, kinds
        self.results, self.over = {}, set()

    def measure(self, measure, name, *operands):
        """Measures a contestant once, unless that failed or took long before."""
        if (measure, name) in self.over:
            return
        results, began = self.results.setdefault(measure, {}), time.monotonic()
        try:
            results.setdefault(name, []).append(measure(self.place, *operands))
        except (LookupError, OSError, ValueError, ArithmeticError) as error:
            results[name] = []
            self.over.add((measure, name))
            # What it began may go on for a moment.
            time.sleep(1)
            self.place.remove_uploads()
            if not isinstance(error, LookupError):
                say(f"left out of {', '.join(self.rows_of(measure))}: {name}: {error or type(error).__name__}")
        if time.monotonic() - began > SLOW:
            self.over.add((measure, name))

    def rows_of(self, measure):
        """The names of the rows that have figures of a measurement."""
        every = [row for table in self.tables.values() for row in table]
        return [row.name for row in every if measure in (row.measure, row.ceiling)]

    def round(self, number):
        """Measures all once, with the contestants in turn; in each round another is the first."""
        for title, table in self.tables.items():
            kinds = self.kinds[title]
            turn = number % len(kinds)
            for measure in dict.fromkeys(row.measure for row in table if not (row.once and number)):
                for kind in kinds[turn:] + kinds[:turn]:
                    self.measure(measure, kind.name, kind)
        every = [row for table in self.tables.values() for row in table]
        for ceiling in dict.fromkeys(row.ceiling for row in every if row.ceiling):
            self.measure(ceiling, report.LOOPBACK)

    def rounds(self, number, minutes):
        """Runs all rounds for which there is time."""
        began, longest = time.monotonic(), 0
        for at in range(number):
            start = time.monotonic()
            if at and start - began + longest > minutes * 60:
                say(f"{at} rounds took {(start - began) / 60:.1f} minutes: no more of them")
                return
            self.round(at)
            longest = max(longest, time.monotonic() - start)
            say(f"round {at + 1} of {number}: {time.monotonic() - start:.0f} s")

    def verdicts(self, title):
        """What each row of a table came to."""
        own, figures = self.kinds[title][0].name, self.results
        return [
            report.verdict(row, own, figures[row.measure], figures.get(row.ceiling)) for row in self.tables[title]
        ]


def main():
    wanted = arguments()
    if os.geteuid():
        fail("needs root: sudo python3 tests/bench/peers")
    if not os.environ.get(INSIDE):
        os.environ[PROGRAM] = build(wanted.program, not wanted.bounds)
    enter_network()
    # Servers are ended and files removed then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    tables, kinds = chosen(wanted), contestants(os.environ[PROGRAM], wanted.bounds)
    sizes = QUICK if wanted.quick else Sizes(mib=int(os.environ.get("MIB", Sizes().mib)))
    number = 1 if wanted.quick or wanted.bounds else int(os.environ.get("ROUNDS", 7))
    with Place(sizes, kinds["servers"][0]) as place:
        run = Run(place, tables, kinds)
        run.rounds(number, float(os.environ.get("MINUTES", 15)))
    verdicts = {title: run.verdicts(title) for title, table in tables.items() if table}
    print("\n\n".join(report.printed(found, wanted.bounds) for found in verdicts.values()))
    if wanted.write:
        report.write(verdicts, run.results)
    missed = [found for table in verdicts.values() for found in table if not found.holds(wanted.bounds)]
    sys.exit(1 if missed else 0)


main()
