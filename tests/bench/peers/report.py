"""What a run came to: medians, the best peer and verdicts, how they are printed, and where they are kept."""

import statistics
import subprocess
from typing import NamedTuple, Optional

import rows
import servers

LOOPBACK = "loopback"
PICTURES = servers.TOP / "tests/pictures"
FIGURES = servers.TOP / "docs/figures.md"
HEADS = ["row", "what", "unit", "ours", "from", "to", "best peer", "its figure", "ratio", "goal", "", LOOPBACK]
# Words are on the left, numbers on the right.
WORDS = {"row", "what", "unit", "best peer", ""}
OF_BOUNDS = {"row", "what", "unit", "ours", "goal", ""}
# Tables of other pictures: the head of each further column, with a row and its figure.
OTHERS = {
    "tls.tsv": {"RETR": "tls-retr-cpu", "STOR": "tls-stor-cpu"},
    "idle.tsv": {"KiB a session": "idle"},
}


class Verdict(NamedTuple):
    """A row with its figures."""

    row: rows.Row
    # Of each round.
    ours: list
    peer: str
    best: Optional[float]
    ratio: Optional[float]
    loopback: Optional[float]

    @property
    def median(self):
        return statistics.median(self.ours) if self.ours else None

    def compared(self):
        """What the goal is for: the ratio, or our figure. Nothing if there is none."""
        return self.median if self.row.ratio is None else self.ratio

    def holds(self, bounds=False):
        """Whether the goal is met, or the bound. What nothing is compared with holds."""
        if not self.ours:
            return False
        if bounds:
            return self.median <= self.row.bound
        found, goal = self.compared(), self.row.goal
        return found is None or (found >= goal if self.row.better == "higher" else found <= goal)

    def share(self):
        """How far the goal is met: from 1 on it is."""
        found, goal = self.compared() or 0, self.row.goal
        if self.row.better == "higher":
            return found / goal
        return goal / found if found else 0


def verdict(row, own, results, ceiling):
    """Compares our figures with those of the peer that has the best median."""
    values = {
        name: [figures[row.figure] for figures in rounds if row.figure in figures] for name, rounds in results.items()
    }
    ours = values.pop(own, [])
    medians = {name: statistics.median(rounds) for name, rounds in values.items() if rounds}
    peer = (max if row.better == "higher" else min)(medians, key=medians.get, default="")
    # Of one round each: what else a machine does changes from one to the next.
    ratios = [mine / other for mine, other in zip(ours, values.get(peer, [])) if other]
    loopback = [figures[row.figure] for figures in (ceiling or {}).get(LOOPBACK, [])]
    middle = [statistics.median(found) if found else None for found in (ratios, loopback)]
    return Verdict(row, ours, peer, medians.get(peer), *middle)


def number(value):
    """At least three digits, with commas."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cells(verdict, bounds=False):
    """The words of a row, as HEADS has them."""
    row, ours = verdict.row, verdict.ours
    spread = (min(ours), max(ours)) if len(ours) > 1 else (None, None)
    sign = "≥" if row.better == "higher" else "≤"
    goal = f"{sign} {row.ratio:g} ×" if row.ratio is not None else f"{sign} {row.value:,g}"
    ratio = "–" if verdict.ratio is None else f"{verdict.ratio:.2f}"
    if bounds:
        goal = f"≤ {row.bound:,g}"
    met = "met" if verdict.holds(bounds) else "missed"
    found = [number(verdict.median), *map(number, spread), verdict.peer or "–", number(verdict.best)]
    return [row.name, row.what, row.unit, *found, ratio, goal, met, number(verdict.loopback)]


def printed(verdicts, bounds=False):
    """A table for a terminal, without peers where only bounds are looked at."""
    lines = [HEADS, *(cells(verdict, bounds) for verdict in verdicts)]
    columns = [at for at, head in enumerate(HEADS) if not bounds or head in OF_BOUNDS]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEADS))]

    def aligned(line):
        sides = {at: str.ljust if HEADS[at] in WORDS else str.rjust for at in columns}
        return "  ".join(side(line[at], widths[at]) for at, side in sides.items())

    return "\n".join(map(aligned, lines))


def markdown(verdicts):
    """A table for docs/figures.md."""
    lines = ["| what | ours | best peer | ratio | goal | | loopback |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for verdict in verdicts:
        _, what, unit, ours, low, high, peer, best, ratio, goal, met, loopback = cells(verdict)
        spread = f" ({low} to {high})" if len(verdict.ours) > 1 else ""
        other = f"{peer} {best}" if verdict.peer else peer
        lines.append(f"| {what}, {unit} | {ours}{spread} | {other} | {ratio} | {goal} | {met} | {loopback} |")
    return "\n".join(lines)


def tsv(lines):
    return "".join("\t".join(line) + "\n" for line in lines)


def write(verdicts, results):
    """Writes the tables that pictures are drawn from, draws them, and puts the tables into docs/figures.md."""
    text = FIGURES.read_text()
    for title, found in verdicts.items():
        (PICTURES / f"peers-{title}.tsv").write_text(
            tsv([[*HEADS, "share"], *([*cells(verdict), f"{verdict.share():.3f}"] for verdict in found)])
        )
        begin, end = f"<!-- {title}: tests/bench/peers --write -->\n", f"\n<!-- end of {title} -->"
        head, _, rest = text.partition(begin)
        picture = f"![Bars: how far each goal is met, {title}](pictures/peers-{title}.svg)"
        text = f"{head}{begin}\n{picture}\n\n{markdown(found)}\n{end}{rest.partition(end)[2]}"
    FIGURES.write_text(text)
    by_name = {row.name: row for row in rows.SERVERS}
    for name, columns in OTHERS.items():
        figures = {head: results[by_name[row].measure] for head, row in columns.items()}
        lines = [["server", *columns]]
        for server in next(iter(figures.values())):
            rounds = [[one[by_name[row].figure] for one in figures[head][server]] for head, row in columns.items()]
            if all(rounds):
                lines.append([server, *(f"{statistics.median(one):.3g}" for one in rounds)])
        (PICTURES / name).write_text(tsv(lines))
    subprocess.run(["bash", str(PICTURES / "run")], check=True)
