"""Measures clients and servers over a slow network, in round trips and in seconds.

    sudo python3 -B tests/bench/wan [--rounds N] [--servers LIST] [--clients LIST] [--at-once N]
         [--rtt MS] [--rate MBIT] [--queue KIB] [--loss PERCENT] [--verbose] [--program FILE] [ROW]...
    sudo python3 -B tests/bench/wan --bounds [--program FILE]

Prints a Markdown table for each row: clients by servers. A cell has the median and the spread of all rounds. A
figure is the number of round trips, one after another, for each file, login included; for a large file and a
line that is narrow or loses packets, it is the seconds of the whole run. Trips are counted from the packets of
all connections, so they hardly depend on the load of the computer; seconds do. At the beginning, a dialogue whose
round trips are known shows that they are counted right.

ROW        a name in rows.py, or its beginning with a * (default: {default})
--rounds   measure so many times (default: 3)
--servers  only those whose names begin with one of these words, separated by commas; --clients likewise
--at-once  so many runs at the same time (default: 8), each with its own line and server; large files run alone
--rtt, --rate, --queue, --loss
           change the line of all rows; the queue is that of each direction (default: one round trip at full rate)
--bounds   compare our client with bounds.txt, for our server and for vsftpd; takes half a minute
--verbose  print each measurement, since the tables are printed at the end
--program  this build of ftp-cli (default: target/release/ftp-cli)

Needs root, TUN devices and network namespaces. Without them, it prints why it is skipped; with FTP_REQUIRE_PEERS=1
that is a failure. Exit status: 1 if a bound is missed, 2 if nothing can be measured.
"""

import argparse
import concurrent.futures
import importlib.util
import itertools
import math
import multiprocessing
import os
import pathlib
import signal
import statistics
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
# After this directory, which also has a rows.py.
sys.path.append(str(TOP / "tests/bench/peers"))

import link  # noqa: E402
import rows  # noqa: E402
import servers  # noqa: E402
from measure import Figure, measure  # noqa: E402

BOUNDS = pathlib.Path(__file__).with_name("bounds.txt")
DEFAULT = ("get", "put", "get-20m", "put-20m", "down", "up", "ls")
# A run with a bound that it misses is repeated this often: other programs can only add round trips.
TRIES = 3


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def campaign_place():
    """Returns tests/campaign/place.py: tests/bench/peers has another module of that name."""
    found = importlib.util.spec_from_file_location("campaign_place", TOP / "tests/campaign/place.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def skip(why: str) -> None:
    say(f"wan: skipped: {why}")
    sys.exit(2 if os.environ.get("FTP_REQUIRE_PEERS") == "1" else 0)


def arguments() -> argparse.Namespace:
    text = __doc__.format(default=" ".join(DEFAULT))
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    for name in ("bounds", "verbose"):
        parser.add_argument(f"--{name}", action="store_true")
    for name, default in (("rounds", 3), ("at-once", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name in ("servers", "clients"):
        parser.add_argument(f"--{name}", type=lambda words: tuple(words.lower().split(",")), default=("",))
    for name in ("rtt", "rate", "queue", "loss"):
        parser.add_argument(f"--{name}", type=float)
    parser.add_argument("--program", default=str(TOP / "target/release/ftp-cli"))
    wanted = parser.parse_intermixed_args()
    if not os.path.exists(wanted.program):
        parser.error(f"{wanted.program}: not found; run cargo build --release, or use --program")
    wanted.program = os.path.realpath(wanted.program)
    return wanted


def chosen(wanted: argparse.Namespace) -> list[rows.Row]:
    """Returns the requested rows, with the requested line."""
    found = []
    for name in wanted.rows or DEFAULT:
        fits = [row for row in rows.ROWS if row.name == name or name[-1:] == "*" and row.name.startswith(name[:-1])]
        if not fits:
            say(f"wan: no row is called {name}; the rows are: {' '.join(row.name for row in rows.ROWS)}")
            sys.exit(2)
        found += [row for row in fits if row not in found]
    given = {"rtt": 1e-3, "rate": 1e6, "queue": 1024, "loss": 1e-2}
    changes = {name: getattr(wanted, name) * unit for name, unit in given.items() if getattr(wanted, name) is not None}
    return [row._replace(line=row.line._replace(**changes)) for row in found]


def server_kinds(program: str) -> list[servers.Kind]:
    """Returns the installed servers, ours first."""
    kinds = {kind.name: kind for kind in servers.kinds(program)}
    kinds["vsftpd"] = kinds["vsftpd"]._replace(command=servers.vsftpd("anon_mkdir_write_enable=YES\n"))
    for name in [name for name, kind in kinds.items() if not kind.is_installed()]:
        say(f"not installed, and left out: {name}")
        del kinds[name]
    return list(kinds.values())


class Run:
    """The figures of all rounds, by row, server and client."""

    def __init__(self, program: str, is_verbose: bool = False) -> None:
        self.is_verbose = is_verbose
        self.kinds, self.programs = server_kinds(program), rows.programs(program)
        self.figures: dict[tuple[str, str, str], list[Figure]] = {}

    def keep(self, server: str, client: str) -> None:
        """Keeps only servers and clients whose names are or begin with given words."""

        def fits(name: str, words: tuple[str, ...]) -> bool:
            return name.lower().startswith(words)

        self.kinds = [kind for kind in self.kinds if fits(kind.name, server)]
        self.programs = [program for program in self.programs if fits(program.name, client)]

    def attempt(self, row: rows.Row, kind: servers.Kind, program: rows.Program) -> Figure | None:
        try:
            return measure(row, kind, program)
        except LookupError:
            return None
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            say(f"left out of {row.name}: {program.name} with {kind.name}: {error or type(error).__name__}")
            return None

    def rounds(self, wanted: list[rows.Row], number: int, at_once: int) -> None:
        """Measures all rows. A client that fails with a server once is left out of that row."""
        for is_alone in (False, True):
            some = [row for row in wanted if row.is_alone == is_alone]
            jobs = list(itertools.product(some, self.kinds, self.programs))
            for _ in range(number):
                self.round(jobs, 1 if is_alone else at_once)

    def round(self, jobs: list, at_once: int) -> None:
        """Measures servers with clients, so many at once."""
        # A process for each measurement at the same time, because a thread's network is the process's.
        fork = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(at_once, mp_context=fork) as pool:
            keys = [(row.name, kind.name, program.name) for row, kind, program in jobs]
            due = [at for at, key in enumerate(keys) if self.figures.get(key) != []]
            # The index stands for the job: its functions cannot be sent to another process.
            _Jobs.run, _Jobs.jobs = self, jobs
            for at, figure in zip(due, pool.map(_Jobs.attempt, due)):
                found = self.figures.setdefault(keys[at], [])
                if figure:
                    found.append(figure)
                    if self.is_verbose:
                        say(f"{', '.join(keys[at])}: {_number(value(jobs[at][0], figure))}")
                else:
                    found.clear()

    def table(self, row: rows.Row) -> str:
        """Returns the Markdown table of a row."""
        unit = "s" if row.in_seconds else "round trips" if row.files == 1 or row.job == "ls" else "round trips a file"
        least = f"; the bytes alone take {row.bytes * 8 / row.line.rate:.1f} s" if row.in_seconds else ""
        lines = [f"**{row.what}**, {unit} ({row.line}{least})", ""]
        lines += [_line(["client", *(kind.name for kind in self.kinds)]), _line(["---"] * (1 + len(self.kinds)))]
        for program in self.programs:
            cells = [self._cell(row, self.figures.get((row.name, kind.name, program.name), [])) for kind in self.kinds]
            if any(cells):
                lines.append(_line([program.name, *(cell or "–" for cell in cells)]))
        return "\n".join(lines)

    @staticmethod
    def _cell(row: rows.Row, figures: list[Figure]) -> str:
        found = [value(row, figure) for figure in figures]
        if not found:
            return ""
        least, middle, most = (_number(of(found)) for of in (min, statistics.median, max))
        return middle if least == most else f"{middle} ({least} to {most})"


class _Jobs:
    """What the processes of a round have in common."""

    run: Run
    jobs: list

    @classmethod
    def attempt(cls, at: int) -> Figure | None:
        return cls.run.attempt(*cls.jobs[at])


def value(row: rows.Row, figure: Figure) -> float:
    """Returns the number that a row shows: seconds, or round trips for each file."""
    if row.in_seconds:
        return figure.seconds
    return figure.round_trips / (1 if row.job == "ls" else row.files)


def _number(value: float) -> str:
    """Formats a number with at least three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def compare(program: str, at_once: int) -> int:
    """Compares our client with its bounds. Returns the exit status."""
    run, by_name = Run(program), {row.name: row for row in rows.ROWS}
    kinds, own = {kind.name: kind for kind in run.kinds}, run.programs[0]
    bounds = {}
    for line in BOUNDS.read_text().splitlines():
        if line and not line.startswith("#"):
            most, name, server = line.split(maxsplit=2)
            bounds[name, server] = float(most)
    missing = sorted({server for _, server in bounds} - set(kinds))
    if missing and os.environ.get("FTP_REQUIRE_PEERS") == "1":
        say(f"wan: not installed: {', '.join(missing)}")
        return 2
    bounds = {key: most for key, most in bounds.items() if key[1] in kinds}

    def least(name: str, server: str) -> float:
        figures = run.figures.get((name, server, own.name), [])
        return min((value(by_name[name], figure) for figure in figures), default=math.inf)

    for _ in range(TRIES):
        left = [key for key, most in bounds.items() if least(*key) > most]
        run.round([(by_name[name], kinds[server], own) for name, server in left], at_once)
    for (name, server), most in bounds.items():
        verdict = "met" if least(name, server) <= most else "missed"
        print(f"{name:8} {server:14} {least(name, server):6.2f} round trips a file, at most {most:g}: {verdict}")
    return 1 if any(least(*key) > most for key, most in bounds.items()) else 0


def check_proof(line: link.Line) -> None:
    """Fails unless round trips are counted right."""
    hand, packets, clock = link.proof(line)
    say(f"a dialogue of {hand} round trips: {packets:g} by packets, {clock:.2f} by the clock")
    if packets != hand:
        say("wan: round trips are not counted right")
        sys.exit(2)


def main() -> None:
    wanted = arguments()
    if os.geteuid():
        say("wan: needs root: sudo python3 -B tests/bench/wan")
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    place = campaign_place()
    try:
        if not os.environ.get(place.INSIDE):
            # What `again` needs, and what a container may forbid.
            place.run("unshare", "--net", "--mount", "--mount-proc", "--pid", "--fork", "ip", "link", "set", "lo", "up")
        place.enter()
        check_proof(link.Line())
    except (place.Unavailable, OSError, subprocess.SubprocessError) as error:
        skip(str(error))
    if wanted.bounds:
        sys.exit(compare(wanted.program, wanted.at_once))
    run, some = Run(wanted.program, wanted.verbose), chosen(wanted)
    run.keep(wanted.servers, wanted.clients)
    run.rounds(some, wanted.rounds, wanted.at_once)
    print("\n\n".join(run.table(row) for row in some))


main()
