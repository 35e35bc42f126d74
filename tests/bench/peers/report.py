"""The results of a run: medians, the best peer and verdicts, and how they are printed and stored."""

import statistics
import subprocess
from typing import NamedTuple, Optional

import alone
import rows
import servers

LOOPBACK = "loopback"
PICTURES = servers.TOP / "tests/pictures"
GOALS = servers.TOP / "tests/bench/goals.md"
HEADS = ["row", "what", "unit", "ours", "spread", "best peer", "its figure", "ratio", "its spread"]
HEADS += ["goal", "", LOOPBACK]
OF_BOUNDS = {"row", "what", "unit", "ours", "goal", ""}
SIZES = [f"×{times}" for times in alone.TIMES]
HEADS_OF_GROWTH = ["row", "what", "unit", *SIZES, f"{SIZES[-1]} / {SIZES[0]}", "its spread", "goal", ""]
# Words are aligned to the left, numbers to the right.
WORDS = {"row", "what", "unit", "best peer", ""}
# A peer that differs from the best peer by a larger factor counts as far from it.
FAR = 1.5
# Tables of pictures: the heading of each further column, and the row with its figures.
OF_PICTURES = {
    "tls.tsv": {"RETR": "tls-retr-cpu", "STOR": "tls-stor-cpu"},
    "idle.tsv": {"KiB a session": "idle"},
}


def median(figures):
    """Returns the median; None if there are no figures."""
    return statistics.median(figures) if figures else None


def figures_of(row, results):
    """Returns the figures of a row in each round, by contestant. Omits contestants without figures."""
    found = {name: [one[row.figure] for one in rounds if row.figure in one] for name, rounds in results.items()}
    return {name: rounds for name, rounds in found.items() if rounds}


def best(row, figures):
    """Returns the contestant with the best median, among those with the most rounds; "" if there is none."""
    most = max(map(len, figures.values()), default=0)
    medians = {name: median(rounds) for name, rounds in figures.items() if len(rounds) == most}
    return (max if row.better == "higher" else min)(medians, key=medians.get, default="")


def far(table, own, results):
    """Returns the peers that are far from the best peer in every row that has peers."""
    found = []
    for row in table:
        figures = figures_of(row, results)
        figures.pop(own, None)
        if figures:
            first = median(figures[best(row, figures)])
            found.append({name for name in figures if not 1 / FAR <= median(figures[name]) / first <= FAR})
    return sorted(set.intersection(*found)) if found else []


class Verdict(NamedTuple):
    """A row with its figures."""

    row: rows.Row
    # Our figure in each round.
    ours: list
    peer: str
    best: Optional[float]
    # The ratio in each round: the load of the machine changes from round to round.
    ratios: list
    loopback: Optional[float]

    @property
    def median(self):
        return median(self.ours)

    @property
    def ratio(self):
        return median(self.ratios)

    def compared(self):
        """Returns the value that the goal applies to: the ratio, or our figure. None if there is no value."""
        return self.median if self.row.ratio is None else self.ratio

    def holds(self, bounds=False):
        """Returns whether the goal is met, or the bound if `bounds`. A ratio without a peer meets its goal."""
        if not self.ours:
            return False
        if bounds:
            return self.median <= self.row.bound
        found, goal = self.compared(), self.row.goal
        return found is None or (found >= goal if self.row.better == "higher" else found <= goal)


def verdict(row, own, results, ceiling):
    """Compares our figures with those of the best peer."""
    figures = figures_of(row, results)
    ours = figures.pop(own, [])
    peer = best(row, figures)
    ratios = [mine / other for mine, other in zip(ours, figures.get(peer, [])) if other]
    loopback = figures_of(row, ceiling or {}).get(LOOPBACK)
    return Verdict(row, ours, peer, median(figures.get(peer)), ratios, median(loopback))


def number(value):
    """Formats a number with at least three digits, and with commas."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(figures):
    """Formats the minimum and the maximum; a dash unless there are several figures."""
    return f"{number(min(figures))} to {number(max(figures))}" if len(figures) > 1 else "–"


def goal(row, bounds=False):
    sign = "≥" if row.better == "higher" else "≤"
    if bounds:
        return f"≤ {row.bound:,g}"
    return f"{sign} {row.ratio:g} ×" if row.ratio is not None else f"{sign} {row.value:,g}"


def cells(verdict, bounds=False):
    """Returns the cells of a row, in the order of HEADS."""
    row, met = verdict.row, "met" if verdict.holds(bounds) else "missed"
    ratio = "–" if verdict.ratio is None else f"{verdict.ratio:.2f}"
    ours, peer = [number(verdict.median), spread(verdict.ours)], [verdict.peer or "–", number(verdict.best)]
    compared = [ratio, spread(verdict.ratios), goal(row, bounds), met]
    return [row.name, row.what, row.unit, *ours, *peer, *compared, number(verdict.loopback)]


def cells_of_growth(verdict, results):
    """Returns the cells of a row, in the order of HEADS_OF_GROWTH."""
    row, met = verdict.row, "met" if verdict.holds() else "missed"
    rounds = next(iter(results[row.measure].values()), [])
    costs = [number(median([one[size] for one in rounds])) for size in SIZES]
    return [row.name, row.what, row.unit, *costs, number(verdict.median), spread(verdict.ours), goal(row), met]


def lines_of(title, verdicts, results, bounds=False):
    """Returns a table with its headings."""
    if title == "growth":
        return [HEADS_OF_GROWTH, *(cells_of_growth(verdict, results) for verdict in verdicts)]
    return [HEADS, *(cells(verdict, bounds) for verdict in verdicts)]


def printed(title, verdicts, results, bounds=False):
    """Formats a table for a terminal; without peers if only bounds are checked."""
    lines = lines_of(title, verdicts, results, bounds)
    columns = [at for at, head in enumerate(lines[0]) if not bounds or head in OF_BOUNDS]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]

    def aligned(line):
        sides = {at: str.ljust if lines[0][at] in WORDS else str.rjust for at in columns}
        return "  ".join(side(line[at], widths[at]) for at, side in sides.items())

    return "\n".join(map(aligned, lines))


def markdown(title, verdicts, results):
    """Formats a table for goals.md: a spread is in parentheses, and a peer stands beside its figure."""
    if title == "growth":
        heads = ["what", *HEADS_OF_GROWTH[3:7], "goal", ""]
    else:
        heads = ["what", "ours", "best peer", "ratio", "goal", "", LOOPBACK]
    lines = [heads, ["---"] * len(heads)]
    for line in lines_of(title, verdicts, results)[1:]:
        _, what, unit, *words = [cell.replace("–", "") for cell in line]
        if title == "growth":
            *costs, growth, its, goal, met = words
            lines.append([f"{what}, {unit}", *costs, beside(growth, its), goal, met])
        else:
            ours, its, peer, figure, ratio, spread, *others = words
            peer = f"{peer} {figure}".strip()
            lines.append([f"{what}, {unit}", beside(ours, its), peer, beside(ratio, spread), *others])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def beside(figure, spread):
    return f"{figure} ({spread})" if spread else figure


def tsv(lines):
    return "".join("\t".join(line) + "\n" for line in lines)


def write(verdicts, results):
    """Puts the tables into goals.md, writes those of the pictures, and draws the pictures."""
    text = GOALS.read_text()
    for title, found in verdicts.items():
        begin, end = f"<!-- {title}: tests/bench/peers --write -->\n", f"\n<!-- end of {title} -->"
        head, _, rest = text.partition(begin)
        text = f"{head}{begin}\n{markdown(title, found, results)}\n{end}{rest.partition(end)[2]}"
    GOALS.write_text(text)
    for name, columns in OF_PICTURES.items():
        (PICTURES / name).write_text(tsv(other(columns, results)))
    subprocess.run(["bash", str(PICTURES / "run")], check=True)


def other(columns, results):
    """Returns the table of another picture: medians by server."""
    found = {}
    for row in rows.SERVERS:
        if row.name in columns.values():
            found[row.name] = {name: median(of) for name, of in figures_of(row, results[row.measure]).items()}
    lines = [["server", *columns]]
    for server in next(iter(found.values())):
        if all(server in medians for medians in found.values()):
            lines.append([server, *(f"{found[row][server]:.3g}" for row in columns.values())])
    return lines
