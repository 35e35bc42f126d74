"""Tests the whole toolkit for a long time, while things go wrong on purpose.

    sudo python3 -B tests/campaign soak [--minutes N] [--seed N] [--first] [--program FILE]
         [--switches LIST] [--actions LIST] [--clients LIST] [--faults LIST] [--every N] [--workers N]
         [--gateway SERVER]
    sudo python3 -B tests/campaign watch [--minutes N] [--seed N] [--first] [--program FILE]
         [--verbs LIST] [--servers LIST] [--switches LIST] [--calm] [--only PERIOD]
    sudo python3 -B tests/campaign switches [--seed N] [--program FILE] [NAME]...
    sudo python3 -B tests/campaign worlds [--seed N] [--first] [--rounds N] [--program FILE] [NAME]...
    sudo python3 -B tests/campaign planted [--seed N] [NAME]...
    sudo python3 -B tests/campaign power [--seed N] [--program FILE]
    sudo python3 -B tests/campaign cuts [--seed N] [--first] [--program FILE] [--gateway SERVER] [NAME]...
    sudo python3 -B tests/campaign months [--days N] [--program FILE]
    sudo python3 -B tests/campaign differences [--write] [--program FILE] [--gateway SERVER]

soak     runs all kinds of clients against our server, while one action in ten goes wrong on purpose: resets,
         silence, stopped and killed clients, a full disk, missing descriptors, a killed server, reloads, new
         certificates, changes to the clock. Every file must match a model.
watch    runs our client with all installed servers, and all installed clients with our server, through a
         proxy that breaks transfers. A gateway to each server is one too, with a second proxy beyond it. After exit 0 the file must be complete; after a failure it must be the
         old or the new file.
switches turns on each switch alone until it takes effect, and fails if one does not. NAME selects switches.
worlds   tests only the promises of worlds.py: odd servers and disks, small machines, other programs that are killed.
         NAME selects promises.
planted  applies each patch of tests/campaign/planted to a copy of the sources, builds it, and fails if
         soak, watch or worlds does not find what the head of the patch names. NAME selects patches.
power    stores files on a disk that records its writes, cuts the power at each flush, and compares the files
         with what the server confirmed. Then clients resume cut uploads on the restored disks.
cuts     cuts uploads over an old file, lets the world act, and runs the usual resume of each client, on five
         kinds of disks. NAME selects cases by disk, client, bytes or act, such as tmpfs, curl or 30000.
months   fakes the server's clock: a camera uploads a picture per minute for some days, a certificate ends, and
         the clock passes dates such as the end of summer time and of 32 bits.
differences
         runs the dialogues of the reply matrix with our server and four others, prints every difference in
         reply codes, and fails if a difference has no verdict. --write updates docs/dev/differences.md.

--minutes  duration of the run (default: 3); with 0, watch only tests its fixed promises
--days     days of the camera (default: {days})
--seed     seed of the random choices (default: from the clock); a soak with an odd seed does not confine
           sessions, so that they too see changes to the clock
--first    stop at the first finding
--verbs    only these, for watch: {verbs}
--servers  only these, for watch, such as ours,ProFTPD or 'gateway to ProFTPD'; gateway: all gateways
--switches only these, in place of three to five at random in each soak or each period of a watch (see below)
--calm     a watch without broken transfers, unless an action is about one, and without a slow network
--only     repeats some actions of a watch, as a finding names them: SERVER/TURN/WHO/NUMBER,NUMBER
--rounds   how often mirrors_beside_saves and deploys_beside_edits mirror, of each kind (default: {rounds})
--actions  only these, separated by commas: {actions}
--clients  only these: {clients}; our client does what none of them can do
--faults   only these: {faults}
--every    one action in this number goes wrong (default: {every})
--workers  the number of users that act at the same time (default: {workers})
--gateway  our server is a gateway to this one, such as ours or ProFTPD; in a soak, that is killed, slow, and lies
--program  this build of ftp-cli (default: target/release/ftp-cli)

Switches: {switches}.

A loss that takes days to find with all clients and all faults may take a minute with one client, one fault
and `--every 1 --workers 14`.

Needs root, for a separate network and a small disk. The seed determines the choices of a run, but not the
order of parallel actions. Exit status: 1 if something was found, 2 if the campaign itself fails.
"""

import argparse
import os
import shlex
import signal
import sys
import time
import traceback
from typing import Callable

import cuts
import differences
import months
import place
import planted
import power
import promises
import resumptions
import soak
import switches
import watch
from findings import Findings, say


# Days of the camera in months.
DAYS = 30
# By default a soak does everything.
ALL = soak.Scope()


def some_of(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """Reads a list of known words."""

    def read(text: str) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(filter(None, text.split(","))))
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word!r} is none of: {', '.join(known)}")
        return words

    return read


def up_to(most: int) -> Callable[[str], int]:
    """Reads a number from 1."""

    def read(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected 1 to {most}: {text!r}")
        return int(text)

    return read


def arguments() -> argparse.Namespace:
    shown = {name: ", ".join(value) if isinstance(value, tuple) else value for name, value in ALL._asdict().items()}
    shown |= {"verbs": ", ".join(watch.VERBS), "switches": ", ".join(switches.ALL), "days": DAYS, "rounds": promises.ROUNDS}
    parser = argparse.ArgumentParser(description=__doc__.format(**shown), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["soak", "watch", "switches", "worlds", "planted", "differences", "power", "cuts", "months"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--days", type=up_to(99))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--rounds", type=up_to(10_000), default=promises.ROUNDS)
    parser.add_argument("--program", default=str(place.TOP / "target/release/ftp-cli"))
    parser.add_argument("--verbs", type=some_of(watch.VERBS), default=watch.VERBS)
    parser.add_argument("--servers", type=lambda text: tuple(text.split(",")), default=())
    parser.add_argument("--switches", type=some_of(tuple(switches.ALL)), default=())
    parser.add_argument("--calm", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--gateway", default="")
    for name, value in ALL._asdict().items():
        kind = some_of(value) if isinstance(value, tuple) else up_to(200)
        parser.add_argument(f"--{name}", type=kind, default=value)
    wanted = parser.parse_intermixed_args()
    wanted.scope = soak.Scope(**{name: getattr(wanted, name) for name in ALL._fields})
    wanted.watched = watch.Scope(**{name: getattr(wanted, name) for name in watch.Scope._fields})
    watched = wanted.watched._replace(switches=()) if wanted.part == "soak" else wanted.watched
    if wanted.part != "watch" and watched != watch.Scope():
        parser.error(f"only for watch: {', '.join('--' + name for name in watch.Scope._fields)}; and --switches for soak")
    if wanted.gateway and wanted.part not in ("soak", "cuts", "differences"):
        parser.error("--gateway is for soak, cuts and differences")
    if wanted.part != "soak" and wanted.scope != ALL:
        parser.error(f"only for soak: {', '.join('--' + name for name in ALL._fields)}")
    if wanted.names and wanted.part not in ("planted", "switches", "worlds", "cuts"):
        parser.error("names are for planted, switches, worlds and cuts")
    if wanted.days is not None and wanted.part != "months":
        parser.error("--days is for months")
    wanted.days = wanted.days or DAYS
    return wanted


def options(scope: soak.Scope) -> list[str]:
    """Returns the options that select this scope."""
    chosen = [(name, value) for name, value in scope._asdict().items() if value != getattr(ALL, name)]
    return [f"--{name}={','.join(value) if isinstance(value, tuple) else value}" for name, value in chosen]


def run(wanted: argparse.Namespace) -> Findings:
    if wanted.part == "planted":
        return planted.run(wanted.seed, wanted.names)
    program = os.path.realpath(wanted.program)
    if not os.path.exists(program):
        raise place.Unavailable(f"{program}: not found; run cargo build --release, or use --program")
    place.enter()
    switches.check()
    if wanted.part == "differences":
        return differences.run(program, wanted.write, wanted.gateway)
    if wanted.part == "power":
        here = place.Place()
        findings = power.Power(program, here, wanted.seed).run()
        return resumptions.Resumptions(program, here, wanted.seed, findings).run()
    if wanted.part == "cuts":
        return cuts.Cuts(program, place.Place(), wanted.seed, wanted.first, wanted.names, wanted.gateway).run()
    if wanted.part == "months":
        return months.Months(program, place.Place(), wanted.days).run()
    if wanted.part == "switches":
        scope = watch.Scope(calm=True)
        return watch.Watch(program, place.Place(), wanted.seed, 0, wanted.first, scope).prove(wanted.names)
    if wanted.part == "worlds":
        return promises.check_worlds(program, place.Place(), wanted.seed, wanted.first, wanted.names, wanted.rounds)
    common = (program, place.Place(), wanted.seed, wanted.minutes, wanted.first)
    if wanted.part == "watch":
        return watch.Watch(*common, wanted.watched).run()
    return soak.Soak(*common, wanted.scope, wanted.switches, wanted.gateway).run()


def main() -> None:
    wanted = arguments()
    # Ends all programs, and removes all directories.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if os.geteuid():
            raise place.Unavailable("needs root: sudo python3 -B tests/campaign")
        found = run(wanted)
    except place.Unavailable as error:
        say(f"campaign: {error}")
        sys.exit(2)
    except Exception:  # Python's own exit status, 1, would mean that something was found.
        traceback.print_exc()
        sys.exit(2)
    status = 1 if found.found else 0
    seconds = f"{found.seconds():.0f} s"
    seed = "" if wanted.part == "months" else f", seed {wanted.seed}"
    excused = f", {len(found.excused)} excused" if found.excused else ""
    print(f"{found.title}: {len(found.found)} findings{excused} in {seconds}{seed}, exit {status}")
    if found.found:
        again = ["--minutes", f"{wanted.minutes:g}", "--seed", str(wanted.seed), *options(wanted.scope)]
        again += [f"--gateway={wanted.gateway}"] * bool(wanted.gateway)
        if wanted.part == "months":
            again = ["--days", str(wanted.days)]
        if wanted.part in ("switches", "worlds", "cuts"):
            again = ["--seed", str(wanted.seed), *wanted.names]
        print(f"to repeat: python3 -B tests/campaign {wanted.part} {shlex.join(again)}")
    sys.exit(status)


main()
