"""Draws docs/pictures/*.svg from the tables beside this.

    draw.py DIRECTORY

Each picture has its own background, so that it can be read on a dark and on a light page, and a
title and a description for readers who do not see it.
"""

import html
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
INK, PAPER, FAINT, LINE = "#1f2328", "#ffffff", "#59636e", "#d1d9e0"
GOOD, FAIR, BAD = "#d2f4d9", "#fff3c4", "#ffd7d5"
OURS, OTHERS = "#0969da", "#8c959f"
SANS = "font-family='Segoe UI,Helvetica,Arial,sans-serif' font-size='12'"


def table(name):
    """The heads and the rows of a table."""
    lines = [line.split("\t") for line in (HERE / name).read_text().splitlines()]
    return lines[0], lines[1:]


def svg(width, height, title, description, body, style=""):
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' "
        f"{SANS} fill='{INK}' role='img' aria-labelledby='t d'>\n<title id='t'>{html.escape(title)}</title>\n"
        f"<desc id='d'>{html.escape(description)}</desc>\n{style}"
        f"<rect width='{width}' height='{height}' rx='8' fill='{PAPER}' stroke='{LINE}'/>\n" + "\n".join(body) + "\n</svg>\n"
    )


def text(x, y, words, size=12, fill=INK, anchor="start", weight="normal"):
    usual = {"font-size": 12, "fill": INK, "text-anchor": "start", "font-weight": "normal"}
    chosen = {"font-size": size, "fill": fill, "text-anchor": anchor, "font-weight": weight}
    more = "".join(f" {key}='{value}'" for key, value in chosen.items() if value != usual[key])
    return f"<text x='{x:g}' y='{y:g}'{more}>{html.escape(words)}</text>"


def cells(name, title, description, colour, note):
    """A table with coloured cells; each says in words what its colour says."""
    heads, rows = table(name)
    first, wide, high, top = 210, 158, 30, 66
    width = first + wide * (len(heads) - 1) + 24
    body = [text(16, 28, title, 16, weight="bold")]
    for at, head in enumerate(heads[1:]):
        body.append(text(first + wide * at + wide / 2, 54, head, 12, FAINT, "middle"))
    for line, row in enumerate(rows):
        y = top + high * line
        weight = "bold" if row[0].startswith("ftp-cli") else "normal"
        body.append(text(16, y + 20, row[0], 13, weight=weight))
        for at, words in enumerate(row[1:]):
            x = first + wide * at
            body.append(f"<rect x='{x + 2}' y='{y + 2}' width='{wide - 4}' height='{high - 4}' rx='4' fill='{colour(words)}'/>")
            body.append(text(x + wide / 2, y + 20, words, 12, INK, "middle"))
    height = top + high * len(rows) + 34
    body.append(text(16, height - 14, note, 12, FAINT))
    spoken = [f"{row[0]}: " + "; ".join(f"{head}: {cell}" for head, cell in zip(heads[1:], row[1:])) for row in rows]
    return svg(width, height, title, description + " " + ". ".join(spoken) + ".", body)


def server_colour(words):
    if "226" in words and "partial" in words:
        return BAD
    if words.startswith("old file"):
        return GOOD
    return FAIR if words.startswith("nothing") else BAD


def client_colour(words):
    if words.startswith("partial file") and words.endswith("exit 0"):
        return BAD
    return GOOD if words.startswith(("old file", "new file")) else FAIR


def bars(x, y, title, unit, rows, width=250):
    """Horizontal bars: (name, value, words)."""
    body = [text(x, y, title, 14, weight="bold"), text(x, y + 17, unit, 12, FAINT)]
    most = max(value for _, value, _ in rows)
    for at, (name, value, words) in enumerate(rows):
        top = y + 28 + at * 26
        colour = OURS if name.startswith("ftp-cli") else OTHERS
        body.append(text(x, top + 14, name, 12))
        length = max(2, (width - 150) * value / most)
        body.append(f"<rect x='{x + 112}' y='{top + 2}' width='{length:.1f}' height='16' rx='2' fill='{colour}'/>")
        body.append(text(x + 118 + length, top + 14, words, 12))
    return body


def figures():
    body, spoken = [], []
    # Where the next chart begins, on the left and on the right.
    below = {16: 30, 300: 30}

    def chart(x, title, unit, rows):
        body.extend(bars(x, below[x], title, unit, rows))
        below[x] += 58 + 26 * len(rows)
        spoken.append(f"{title}, {unit}: " + ", ".join(f"{name} {words}" for name, _, words in rows))

    _, rows = table("tls.tsv")
    chart(16, "TLS download", "processor seconds of the server per GiB", [(n, float(r), r) for n, r, _ in rows])
    chart(16, "TLS upload", "processor seconds of the server per GiB", [(n, float(s), s) for n, _, s in rows])
    _, rows = table("idle.tsv")
    chart(300, "Idle session", "memory, KiB", [(n, float(k), k) for n, k in rows])
    heads, rows = table("mirror.tsv")
    small = [(f"{n.split()[0]}, {head}", float(s), s) for n, *all_ in rows for head, s in zip(heads[1:3], all_)]
    small.sort(key=lambda row: row[0].split(", ")[1], reverse=True)
    chart(300, "Mirror of 10,000 small files", "seconds", small)
    height = max(below.values()) - 14
    return svg(580, height, "Processor time, memory, small files", ". ".join(spoken) + ".", body)


def upload():
    """The crates, and the way of one upload."""
    body = [text(16, 28, "Four crates", 16, weight="bold")]

    def box(x, y, name, what, wide=150):
        body.append(f"<rect x='{x}' y='{y}' width='{wide}' height='46' rx='6' fill='#ddf4ff' stroke='#54aeff'/>")
        body.append(text(x + wide / 2, y + 20, name, 13, INK, "middle", "bold"))
        body.append(text(x + wide / 2, y + 36, what, 11, FAINT, "middle"))

    def arrow(x1, y1, x2, y2):
        body.append(f"<path d='M{x1} {y1}L{x2} {y2}' stroke='{FAINT}' stroke-width='1.5' marker-end='url(#a)'/>")

    box(110, 44, "ftp-cli", "commands and options")
    box(16, 130, "ftp-client", "transfers, listings")
    box(204, 130, "ftp-server", "sessions, storage")
    box(110, 216, "ftp-proto", "the language, no I/O")
    arrow(160, 90, 110, 126)
    arrow(210, 90, 260, 126)
    arrow(110, 176, 160, 212)
    arrow(260, 176, 210, 212)
    steps = [
        ("STOR", "rights, name and free space are checked"),
        ("150", "a temporary file without a name is opened"),
        ("data", "bytes arrive; readers still see the old file"),
        ("end of data", "orderly end? TLS close_notify? else 426, old file stays"),
        ("sync", "the content is on disk"),
        ("rename", "one step: the new file has the name"),
        ("sync", "the directory is on disk"),
        ("226", "only now the client hears of success"),
    ]
    body.append(text(390, 28, "How an upload works", 16, weight="bold"))
    for at, (step, what) in enumerate(steps):
        y = 52 + at * 28
        body.append(f"<circle cx='400' cy='{y}' r='9' fill='{OURS if step == '226' else OTHERS}'/>")
        body.append(text(400, y + 4, str(at + 1), 11, "#ffffff", "middle", "bold"))
        body.append(text(418, y + 4, step, 12, weight="bold"))
        body.append(text(520, y + 4, what, 12))
    marker = (
        "<defs><marker id='a' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='8' markerHeight='8' orient='auto'>"
        f"<path d='M0 0L8 4L0 8z' fill='{FAINT}'/></marker></defs>\n"
    )
    spoken = "ftp-cli uses ftp-client and ftp-server; both use ftp-proto. An upload: " + "; ".join(
        f"{at}. {step}: {what}" for at, (step, what) in enumerate(steps, 1)
    )
    return svg(850, 284, "Crates, and how an upload works", spoken + ".", body, marker)


def recording():
    """A terminal, line by line. Without animation, or for who wants none, all of it at once."""
    rows = [line.split("\t") for line in (HERE / "recording.tsv").read_text().splitlines()]
    high, left, top = 18, 16, 44
    styles, body, spoken = [], [], []
    moment, last = 0.6, 0.0
    for at, (seconds, kind, words) in enumerate(rows):
        # Long waits are cut short.
        moment += min(float(seconds) - last, 2.0) + (1.0 if kind == "$" else 0.25)
        last = float(seconds)
        colour = {"$": "#ffffff", "#": "#8b949e"}.get(kind, "#c9d1d9")
        lower = words.lower()
        if words.startswith("fail") or "timed out" in lower:
            colour = "#ff7b72"
        elif words.startswith("best") or "->" in words:
            colour = "#7ee787"
        shown = f"$ {words}" if kind == "$" else words
        body.append(
            f"<text class='l' style='animation-delay:{moment:.1f}s' x='{left}' y='{top + at * high}' fill='{colour}' "
            f"xml:space='preserve'>{html.escape(shown)}</text>"
        )
        spoken.append(shown.strip())
    style = (
        "<style>text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}"
        "@media (prefers-reduced-motion:no-preference){.l{opacity:0;animation:s .1s forwards}}"
        "@keyframes s{to{opacity:1}}</style>\n"
    )
    height = top + len(rows) * high + 4
    bar = "".join(f"<circle cx='{18 + n * 18}' cy='16' r='5' fill='{c}'/>" for n, c in enumerate(["#ff5f56", "#ffbd2e", "#27c93f"]))
    picture = svg(860, height, "ftp-cli at a terminal", " ".join(spoken), [bar, *body], style)
    return picture.replace(f"fill='{PAPER}' stroke='{LINE}'", "fill='#0d1117' stroke='#30363d'")


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
            "Debian 12, default settings unless named. 226 confirms a truncated file as complete; 426 says that it is not.",
        ),
        "clients": cells(
            "clients.tsv",
            "A server breaks a download in the middle: what is left, and the exit code",
            "Rows are clients, columns are faults.",
            client_colour,
            "Debian 12, default settings. “new file”: lftp resumed by itself and got all of it.",
        ),
        "figures": figures(),
        "upload": upload(),
    }
    for name, picture in pictures.items():
        (place / f"{name}.svg").write_text(picture)


main()
