"""Draws docs/pictures/*.svg from the tables beside this.

    draw.py DIRECTORY

Each picture has its own background, follows the reader's choice of light or dark, and has a title and a description for
readers who do not see it. It is narrow, so that its words can be read on a phone.
"""

import html
import math
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
WIDTH = 560
# Colours by their names: for light and for dark.
COLOURS = {
    "ink": ("#1f2328", "#e6edf3"),
    "faint": ("#59636e", "#9198a1"),
    "paper": ("#ffffff", "#0d1117"),
    "line": ("#d1d9e0", "#3d444d"),
    "good": ("#d2f4d9", "#10391b"),
    "fair": ("#fff3c4", "#3d3000"),
    "bad": ("#ffd7d5", "#551a1c"),
    "ours": ("#0969da", "#4493f8"),
    "others": ("#8c959f", "#7d8590"),
    "box": ("#ddf4ff", "#12233a"),
    "red": ("#cf222e", "#ff7b72"),
    "green": ("#1a7f37", "#7ee787"),
    "yellow": ("#9a6700", "#e3b341"),
    "cyan": ("#1b7c83", "#56d4dd"),
}
SANS = "'Segoe UI',Helvetica,Arial,sans-serif"
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"


def table(name):
    """The heads and the rows of a table."""
    lines = [line.split("\t") for line in (HERE / name).read_text().splitlines()]
    return lines[0], lines[1:]


def svg(height, title, description, body, font=f"12px {SANS}", style="", width=WIDTH):
    """A picture. Its classes are names of colours; a line, `l`, has the colour `line`."""
    frame = f"<rect class='paper frame' x='.5' y='.5' width='{width - 1}' height='{height - 1}' rx='8'/>"
    body = "\n".join([frame, *body])
    used = set(" ".join(re.findall(r"class='([^']*)'", body)).split()) & COLOURS.keys() | {"ink"}
    light, dark = (
        "".join(f".{name}{{fill:{COLOURS[name][at]}}}" for name in COLOURS if name in used)
        + f".l,.frame{{stroke:{COLOURS['line'][at]}}}.arrow{{stroke:{COLOURS['faint'][at]}}}.edge{{stroke:{COLOURS['ours'][at]}}}"
        for at in (0, 1)
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' "
        f"class='ink' role='img' aria-labelledby='t d'>\n<title id='t'>{html.escape(title)}</title>\n"
        f"<desc id='d'>{html.escape(description)}</desc>\n<style>text{{font:{font}}}.b{{font-weight:bold}}{light}{style}"
        f"@media(prefers-color-scheme:dark){{{dark}}}</style>\n{body}\n</svg>\n"
    )


def text(x, y, words, size=12, look="", anchor="start"):
    more = "" if size == 12 else f" style='font-size:{size}px'"
    more += f" class='{look}'" if look else ""
    more += "" if anchor == "start" else f" text-anchor='{anchor}'"
    return f"<text x='{x:g}' y='{y:g}'{more}>{html.escape(words)}</text>"


def cells(name, title, description, colour, notes):
    """A table with coloured cells; each says in words what its colour says. What stands after a comma gets a line of its own."""
    heads, rows = table(name)
    first, wide, high, top = 146, 101, 42, 62
    body = [text(16, 28, title, 15, "b")]
    for at, head in enumerate(heads[1:]):
        body.append(text(first + wide * at + wide / 2, 52, head, 12, "faint", "middle"))
    for line, row in enumerate(rows):
        y = top + high * line
        for at, words in enumerate(row):
            x = first + wide * (at - 1)
            word, _, rest = words.partition(", ")
            if at:
                look = colour(words)
                body.append(f"<rect class='{look}' x='{x + 2}' y='{y + 2}' width='{wide - 4}' height='{high - 4}' rx='4'/>")
            place, anchor = (x + wide / 2, "middle") if at else (16, "start")
            look = "b" if not at and word.startswith("ftp-cli") else ""
            body.append(text(place, y + (18 if rest else 26), word, 13, look, anchor))
            if rest:
                body.append(text(place, y + 33, rest, 12 if at else 11, "" if at else "faint", anchor))
    height = top + high * len(rows) + 14 + 17 * len(notes)
    for at, note in enumerate(notes):
        body.append(text(16, height - 13 - 17 * (len(notes) - 1 - at), note, 12, "faint"))
    spoken = [f"{row[0]}: " + "; ".join(f"{head}: {cell}" for head, cell in zip(heads[1:], row[1:])) for row in rows]
    return svg(height, title, description + " " + ". ".join(spoken) + ".", body)


def server_colour(words):
    if "226" in words and "partial" in words:
        return "bad"
    if words.startswith("old file"):
        return "good"
    return "fair" if words.startswith("nothing") else "bad"


def client_colour(words):
    if words.startswith("partial file") and words.endswith("exit 0"):
        return "bad"
    return "good" if words.startswith(("old file", "new file")) else "fair"


def ticks(most):
    """The step and the end of an axis from 0 to at least MOST, in at most five round steps."""
    power = 10 ** math.floor(math.log10(most / 5))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power * 5 >= most)
    return step, step * math.ceil(most / step - 1e-9)


def bars(x, y, rows, end, step):
    """Horizontal bars (name, value, words) over an axis from 0 to END."""
    left, wide, high = x + 82, 128, 24
    bottom = y + high * len(rows)
    body = []
    for at in range(round(end / step) + 1):
        place = left + wide * at * step / end
        body.append(f"<path class='l' d='M{place:g} {y}V{bottom + 4}'/>")
        body.append(text(place, bottom + 17, f"{at * step:g}", 11, "faint", "middle"))
    for at, (name, value, words) in enumerate(rows):
        top = y + at * high
        length = wide * value / end
        look = "ours" if name.startswith("ftp-cli") else "others"
        body.append(text(left - 6, top + 16, name, 12, "", "end"))
        body.append(f"<rect class='{look}' x='{left}' y='{top + 4}' width='{max(1, length):.1f}' height='16'/>")
        # The paper around the words keeps the lines of the axis off them.
        body.append(f"<rect class='paper' x='{left + length + 2:.1f}' y='{top + 4}' width='{6.6 * len(words) + 4:.1f}' height='16'/>")
        body.append(text(round(left + length + 5, 1), top + 16, words))
    return body


def figures():
    _, tls = table("tls.tsv")
    _, idle = table("idle.tsv")
    heads, mirror = table("mirror.tsv")
    small = [(f"{row[0].split()[0]}, {heads[at]}", float(row[at]), row[at]) for at in (1, 2) for row in mirror]
    shown = lambda name: name.removesuffix(" serve")
    # What stands side by side begins and ends at the same height; what is measured alike has one scale.
    seconds, files = "processor time of the server, s/GiB", "time, s"
    charts = [
        [("TLS download", seconds, [(shown(n), float(r), f"{float(r):.2f}") for n, r, _ in tls]),
         ("TLS upload", seconds, [(shown(n), float(s), f"{float(s):.2f}") for n, _, s in tls])],
        [("Idle session", "memory, KiB", [(shown(n), float(k), k) for n, k in idle]),
         ("Mirror of 10,000 small files", files, small)],
    ]  # fmt: skip
    scales = {}
    for _, unit, rows in sum(charts, []):
        scales[unit] = max(scales.get(unit, 0), *(value for _, value, _ in rows))
    body, spoken, y = [], [], 28
    for pair in charts:
        for (title, unit, rows), x in zip(pair, (16, 284)):
            step, end = ticks(scales[unit])
            body += [text(x, y, title, 14, "b"), text(x, y + 17, unit, 12, "faint"), *bars(x, y + 26, rows, end, step)]
            spoken.append(f"{title}, {unit}: " + ", ".join(f"{name} {words}" for name, _, words in rows))
        y += 26 + 24 * max(len(rows) for _, _, rows in pair) + 56
    return svg(y - 26, "Processor time, memory, small files", ". ".join(spoken) + ".", body)


def upload():
    """The crates, and the way of one upload."""
    body = [text(16, 28, "Four crates", 15, "b")]

    def box(x, y, name, what):
        body.append(f"<rect class='box edge' x='{x}' y='{y}' width='152' height='46' rx='6'/>")
        body.append(text(x + 76, y + 20, name, 13, "b", "middle"))
        body.append(text(x + 76, y + 37, what, 12, "faint", "middle"))

    def arrow(x1, y1, x2, y2):
        body.append(f"<path class='arrow' d='M{x1} {y1}L{x2} {y2}' stroke-width='1.5' marker-end='url(#a)'/>")

    box(16, 92, "ftp-cli", "commands, options")
    box(204, 46, "ftp-client", "transfers, listings")
    box(204, 138, "ftp-server", "sessions, storage")
    box(392, 92, "ftp-proto", "the language, no I/O")
    arrow(168, 106, 200, 78)
    arrow(168, 124, 200, 152)
    arrow(356, 78, 388, 106)
    arrow(356, 152, 388, 124)
    steps = [
        ("STOR", "rights, name and free space are checked"),
        ("150", "a temporary file without a name is opened"),
        ("data", "bytes arrive; readers still see the old file"),
        ("end of data", "without an orderly end (TLS: close_notify) 426: the old file stays"),
        ("sync", "the content is on disk"),
        ("rename", "one step: the new file has the name"),
        ("sync", "the directory is on disk"),
        ("226", "only now the client is told of success"),
    ]
    body.append(text(16, 222, "How an upload works", 15, "b"))
    for at, (step, what) in enumerate(steps):
        y = 248 + at * 28
        body.append(f"<circle class='{'ours' if step == '226' else 'others'}' cx='27' cy='{y}' r='10'/>")
        body.append(text(27, y + 4, str(at + 1), 12, "paper b", "middle"))
        body.append(text(46, y + 4, step, 13, "b"))
        body.append(text(134, y + 4, what, 13))
    body.append(
        "<defs><marker id='a' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='8' markerHeight='8' orient='auto'>"
        "<path class='faint' d='M0 0L8 4L0 8z'/></marker></defs>"
    )
    spoken = "ftp-cli uses ftp-client and ftp-server; both use ftp-proto. An upload: " + "; ".join(
        f"{at}. {step}: {what}" for at, (step, what) in enumerate(steps, 1)
    )
    return svg(466, "Crates, and how an upload works", spoken + ".", body)


# An escape sequence for colours, as the table has it, and what its numbers mean.
ESCAPE = re.compile(r"\\e\[([0-9;]*)m")
LOOKS = {"1": "b", "2": "faint", "31": "red", "32": "green", "33": "yellow", "36": "cyan"}
COLUMNS = 88


def lines(words):
    """Output as a terminal shows it, in the colours that the program has printed and broken at the last column."""
    shown, column, looks = [""], 0, set()
    for at, part in enumerate(ESCAPE.split(words)):
        if at % 2:
            for code in part.split(";"):
                if code in ("", "0"):
                    looks = set()
                elif code in ("22", "39"):
                    looks = {look for look in looks if (look in ("b", "faint")) == (code == "39")}
                else:
                    looks = looks | {LOOKS[code]}
            continue
        while part:
            if column == COLUMNS:
                shown.append("")
                column = 0
            piece, part = part[: COLUMNS - column], part[COLUMNS - column :]
            column += len(piece)
            look = " ".join(sorted(looks))
            shown[-1] += f"<tspan class='{look}'>{html.escape(piece)}</tspan>" if look else html.escape(piece)
    return shown


def recording():
    """A terminal, line by line, again and again. Without animation, or if the reader wants none, what is there at the end."""
    high, left, top = 17, 14, 42
    body, spoken, events, drawn_again = [], [], [], []
    row, moment, last = 0, 0.0, 0.0
    for seconds, kind, words in [line.split("\t") for line in (HERE / "recording.tsv").read_text().splitlines()]:
        if kind == "=":
            continue
        # Long waits are cut short. The first command is there at once.
        moment += (min(float(seconds) - last, 2.0) + (1.0 if kind == "$" else 0.1)) * (row > 0)
        last = float(seconds)
        if kind != "-" or drawn_again:
            # A state of a line ends where the next one, or the line that stays, begins.
            for event in drawn_again:
                event[2] = moment
            drawn_again = []
        words = f"$ {words}" if kind == "$" else words
        look = {"$": "b", "#": "faint", "~": "t"}.get(kind, "")
        for at, shown in enumerate(lines(words)[:1] if kind == "~" else lines(words)):
            event = [len(body), moment, None]
            name = f" id='r{event[0]}'" if moment else ""
            events.append(event)
            body.append(
                f"<text{name}" + (f" class='{look}'" if look else "") + f" x='{left}' y='{top + (row + at) * high}' xml:space='preserve'>{shown}</text>"
            )
        if kind == "~":
            drawn_again = [event]
        else:
            row += at + 1
            spoken.append(ESCAPE.sub("", words).strip())
    # The full picture stands for a while, also at first.
    whole = moment + 8
    moved = ""
    for name, begins, ends in events:
        if begins:
            end = "" if ends is None else f"{ends / whole:.1%}{{opacity:0}}"
            moved += f"#r{name}{{animation:r{name} {whole:.0f}s step-end -{moment:.0f}s infinite}}@keyframes r{name}{{0%{{opacity:0}}{begins / whole:.1%}{{opacity:1}}{end}}}"
    bar = "".join(f"<circle class='line' cx='{18 + n * 16}' cy='16' r='5'/>" for n in range(3))
    style = f".t{{opacity:0}}@media(prefers-reduced-motion:no-preference){{{moved}}}"
    height = top + row * high
    return svg(height, "ftp-cli at a terminal", " ".join(spoken), [bar, *body], f"11.6px {MONO}", style, 640)


def main():
    place = pathlib.Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    pictures = {
        "recording": recording(),
        "servers": cells(
            "servers.tsv",
            "An interrupted upload replaces a file: what others find under its name",
            "Rows are servers, columns are faults.",
            server_colour,
            ["Debian 12, default settings unless named. 226 confirms a truncated file as complete;", "426 says that it is not."],
        ),
        "clients": cells(
            "clients.tsv",
            "A server breaks a download: what is left, and the exit code",
            "Rows are clients, columns are faults.",
            client_colour,
            ["Debian 12, default settings. “new file”: lftp resumed by itself and got all of it."],
        ),
        "figures": figures(),
        "upload": upload(),
    }
    for name, picture in pictures.items():
        (place / f"{name}.svg").write_text(picture)


main()
