"""Compares our server and client with others, on the same files in memory, in one run.

    sudo python3 tests/bench/peers [--quick] [--write] [--verbose] [--program FILE] [ROW]...
    sudo python3 tests/bench/peers --bounds [--program FILE] [ROW]...

Counts and memory are measured once, at the beginning. Then servers and clients take turns, ROUNDS times
(default: 7). Each row is printed with the median of our figures, the best peer, the median of the ratios
to that peer in each round, and the goal. The minimum and maximum of our figures and of the ratios are
printed too. ROW is the name of a row in rows.py, or the beginning of names (default: all rows).

A peer that is not installed or lacks a feature is left out. After two rounds, a peer that differs from
the best peer by a factor of more than 1.5 is left out of the other rounds. A message names these peers.

--quick    run one round with small files, to test the benchmark; the figures mean nothing
--write    also write the tables of tests/bench/goals.md and the pictures; needs all rows and at least seven rounds
--verbose  print the seconds that each measurement took
--bounds   measure only our program, and only the rows that have a bound in rows.py
--program  measure this release build of ftp-cli (default: cargo builds one)

ROUNDS, MIB (size of the large file, default: 1024) and MINUTES (default: 25) are environment variables.
A round that would not end within MINUTES is not started. Exit status: 1 if a goal or bound is missed, 2 if
nothing can be measured.
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
# Number of rounds in which all peers take part, and of rounds that --write needs.
ALL_TAKE_PART, KEPT = 2, 7


def say(text):
    print(text, file=sys.stderr, flush=True)


def fail(why):
    say(f"peers: {why}")
    sys.exit(2)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--quick", "--write", "--bounds", "--verbose"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--program")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    wanted = parser.parse_args()
    if wanted.write and (wanted.rows or wanted.quick or wanted.bounds):
        fail("--write is for all rows")
    if wanted.write and rounds() < KEPT:
        fail(f"--write is for {KEPT} rounds")
    return wanted


def rounds():
    return int(os.environ.get("ROUNDS", KEPT))


def build(program, with_peers):
    """Builds the programs of a run, as the user who called sudo. Returns the path of our program."""
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
    """Runs this program again in a separate network, where no port is taken."""
    if not os.environ.get(INSIDE):
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, "-B", *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # No TIME_WAIT: after ten thousand connections, searching for a free port would dominate the figures.
    with open("/proc/sys/net/ipv4/tcp_max_tw_buckets", "w") as file:
        file.write("0")


def chosen(wanted):
    """Returns the requested rows, by table."""
    tables = {"servers": rows.SERVERS, "clients": rows.CLIENTS, "growth": rows.GROWTH, "disk": rows.DISK}
    names = tuple(wanted.rows) or ("",)
    found = {}
    for title, table in tables.items():
        found[title] = [row for row in table if row.name.startswith(names) and (row.bound or not wanted.bounds)]
    if not any(found.values()):
        fail(f"no row is called {' or '.join(names)}")
    return found


def contestants(program, alone):
    """Returns the installed servers and clients, ours first, by table."""
    found = {"servers": servers.kinds(program, "--set", "transfer.sync=none"), "clients": clients.kinds(program)}
    for title, kinds in found.items():
        if alone:
            del kinds[1:]
        for kind in kinds:
            if not kind.is_installed():
                say(f"not installed, and left out: {kind.name}")
        found[title] = [kind for kind in kinds if kind.is_installed()]
    ours = found["servers"][0]
    # With sync, which is on by default.
    disk = [ours._replace(command=servers.ours()), servers.Kind("write, fdatasync", None, None)]
    return {**found, "growth": [ours], "disk": disk}


class Run:
    """The figures of each measurement, by contestant and round."""

    def __init__(self, place, tables, kinds):
        self.place, self.tables, self.kinds = place, tables, kinds
        self.results, self.over, self.seconds = {}, set(), {}
        self.began, self.done = time.monotonic(), 0

    def measure(self, measure, name, *operands):
        """Measures a contestant once, unless this failed before or the contestant is left out."""
        if (measure, name) in self.over:
            return
        results, began = self.results.setdefault(measure, {}), time.monotonic()
        try:
            results.setdefault(name, []).append(measure(self.place, *operands))
        except (LookupError, OSError, ValueError, ArithmeticError) as error:
            results[name] = []
            self.over.add((measure, name))
            # Processes that it started may run for a moment longer.
            time.sleep(1)
            self.place.remove_uploads()
            if not isinstance(error, LookupError):
                say(f"left out of {self.names_of(measure)}: {name}: {error or type(error).__name__}")
        by_name = self.seconds.setdefault(measure, {})
        by_name[name] = by_name.get(name, 0) + time.monotonic() - began

    def every_row(self):
        return [row for table in self.tables.values() for row in table]

    def names_of(self, measure):
        """Returns the names of the rows that have figures of a measurement."""
        return ", ".join(row.name for row in self.every_row() if measure in (row.measure, row.ceiling))

    def turns(self, number, once):
        """Measures all contestants, a different one first each time: counts and memory if `once`, else the rest."""
        for title, table in self.tables.items():
            kinds = self.kinds[title]
            turn = number % len(kinds)
            for measure in dict.fromkeys(row.measure for row in table if row.once == once):
                for kind in kinds[turn:] + kinds[:turn]:
                    self.measure(measure, kind.name, kind)

    def round(self, number):
        """Runs one round: measures everything but counts and memory, and loopback."""
        self.turns(number, once=False)
        for ceiling in dict.fromkeys(row.ceiling for row in self.every_row() if row.ceiling):
            self.measure(ceiling, report.LOOPBACK)

    def rest(self):
        """Leaves peers that are far from the best peer out of further rounds."""
        for title, table in self.tables.items():
            own = self.kinds[title][0].name
            for measure in dict.fromkeys(row.measure for row in table if not row.once):
                far = report.far([row for row in table if row.measure is measure], own, self.results[measure])
                self.over.update((measure, name) for name in far)
                if far:
                    say(f"far from the best, and now left out of {self.names_of(measure)}: {', '.join(far)}")

    def rounds(self, number, minutes):
        """Measures counts and memory once, then runs all rounds for which there is time."""
        self.turns(0, once=True)
        say(f"counts and memory: {time.monotonic() - self.began:.0f} s")
        if all(row.once for row in self.every_row()):
            return
        longest = 0
        while self.done < number:
            start = time.monotonic()
            if self.done and start - self.began + longest > minutes * 60:
                say(f"{self.done} rounds took {(start - self.began) / 60:.1f} minutes: no more of them")
                return
            self.round(self.done)
            self.done += 1
            longest = max(longest, time.monotonic() - start)
            say(f"round {self.done} of {number}: {time.monotonic() - start:.0f} s")
            if self.done == ALL_TAKE_PART < number:
                self.rest()
                # Further rounds are shorter.
                longest = 0

    def say_seconds(self):
        """Prints the seconds of each measurement, the longest first."""
        for measure, by_name in sorted(self.seconds.items(), key=lambda item: -sum(item[1].values())):
            parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in by_name.items())
            say(f"{sum(by_name.values()):8.1f} s  {self.names_of(measure)}: {parts}")

    def verdicts(self, title):
        """Returns the verdict on each row of a table."""
        own, figures = self.kinds[title][0].name, self.results
        return [
            report.verdict(row, own, figures[row.measure], figures.get(row.ceiling)) for row in self.tables[title]
        ]


def end(*_):
    """Ends this program. The cleanup of servers and files must not be interrupted by a second signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(2)


def main():
    wanted = arguments()
    if os.geteuid():
        fail("needs root: sudo python3 tests/bench/peers")
    if not os.environ.get(INSIDE):
        os.environ[PROGRAM] = build(wanted.program, not wanted.bounds)
    enter_network()
    signal.signal(signal.SIGTERM, end)
    tables, kinds = chosen(wanted), contestants(os.environ[PROGRAM], wanted.bounds)
    sizes = QUICK if wanted.quick else Sizes(mib=int(os.environ.get("MIB", Sizes().mib)))
    with Place(sizes, kinds["servers"][0]) as place:
        run = Run(place, tables, kinds)
        run.rounds(1 if wanted.quick else rounds(), float(os.environ.get("MINUTES", 25)))
    if wanted.verbose:
        run.say_seconds()
    verdicts = {title: run.verdicts(title) for title, table in tables.items() if table}
    print("\n\n".join(report.printed(title, found, run.results, wanted.bounds) for title, found in verdicts.items()))
    if wanted.write and run.done < KEPT:
        fail("too few rounds: nothing is written")
    if wanted.write:
        report.write(verdicts, run.results)
    missed = [found for table in verdicts.values() for found in table if not found.holds(wanted.bounds)]
    sys.exit(1 if missed else 0)


main()
