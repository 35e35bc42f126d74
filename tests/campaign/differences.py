"""Runs the same dialogues with our server and with others, and judges every difference in reply codes.

The dialogues are the rows of the reply matrix of the suite (tests/suite/server/matrix.txt), in three of its states:
greeted, logged in, and after PASV. Each server has its configuration from tests/bench/peers, without TLS. It differs
from that of the server's package only in addresses, the user, the root and the right to write.
"""

import concurrent.futures
import contextlib
import pathlib
import re
import socket
import tempfile
from typing import Iterator, Optional

import gateways
import peers
import place
from findings import Findings, say
from verdicts import ALL, Answers, Row, Verdict

MATRIX = place.TOP / "tests/suite/server/matrix.txt"
DOCUMENT = place.TOP / "docs/dev/differences.md"
BEGIN, END = "<!-- measured: tests/campaign differences --write -->", "<!-- end -->"
STATES = {"G": "greeted", "L": "logged in", "PV": "after PASV"}
NAMES = ("ours", "vsftpd", "ProFTPD", "Pure-FTPd", "pyftpdlib")
DIRECTORIES = ("empty", "full")
UPLOADS = (b"STOR", b"APPE", b"STOU")
# What a gateway may confirm although our server refuses it: no command tells the space of another server. That can have
# files with the prefix of our hidden ones, list sockets as files, and follow links out of its root.
BEYOND = ("ALLO", "/.ftp-upload-x", "/socket", "/out")
# After this time without a reply, in seconds, there is none.
SILENT = 6.0
CLOSED, NOTHING = ".", "none"
ESCAPES = {"s": b" ", "t": b"\t", "r": b"\r", "n": b"\n", "0": b"\0", "\\": b"\\"}


def rows() -> list[tuple[str, dict[str, str]]]:
    """Returns the line of each row of the matrix, and our codes by state. Omits rows that need special users."""
    states, found = [], []
    for line in MATRIX.read_text().splitlines():
        if line.startswith("states "):
            states = line.split("|")[1].split()
        elif line and not line.startswith(("#", "== ")):
            sent, _, _, cells = (field.strip() for field in line.split(" | "))
            found.append((sent, dict(zip(states, cells.split()))))
    return [row for row in found if not row[0].startswith(("ACCT", "PASS", "USER", "REIN", "SITE"))]


def unescaped(text: str) -> bytes:
    """Returns the bytes that a row of the matrix sends."""

    def one(found: re.Match) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        if found[2]:
            return "a" * int(found[2])
        return ESCAPES[found[3]].decode()

    text = re.sub(r"\\x([0-9a-f]{2})|\{(\d+)\}|\\([stnr0\\])", one, text)
    return text.encode("latin-1")


def fill(root: pathlib.Path) -> None:
    """Creates the files that the matrix expects."""
    # Some servers never recover if their current directory is removed, so these two directories stay.
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        elif path.relative_to(root).as_posix() not in DIRECTORIES:
            path.rmdir()
    for name, size in (("file", 10), ("other", 10), ("one", 1), ("two", 2), ("big", (1 << 20) + 1)):
        (root / name).write_bytes(b"x" * size)
    for name in DIRECTORIES:
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(0o777)
    (root / "full/x").write_bytes(b"x")
    (root / "out").symlink_to("/etc")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o666)


def code(session: peers.servers.Session) -> str:
    """Returns the code of the next reply."""
    try:
        said = session.reply()
    except OSError:
        return NOTHING
    return said[:3] or CLOSED


def answer(server: peers.Server, state: str, line: str) -> str:
    """Returns the codes with which a server answers the commands of a row."""
    session, data = peers.servers.Session(server.port), None
    session.socket.settimeout(SILENT)
    try:
        if state != "G":
            session.login(server.user, server.password)
        if state == "PV":
            numbers = re.findall(r"\d+", session.expect("PASV", "227")[4:])
            data = socket.create_connection(("127.0.0.1", int(numbers[4]) * 256 + int(numbers[5])), timeout=SILENT)
        codes = []
        # vsftpd's anonymous users may not write to the root of a chroot, so it runs without one.
        root = f" {server.root}/" if server.name == "vsftpd" else " /"
        for part in line.split(" // "):
            sent = unescaped(part.replace(" /", root))
            session.socket.sendall(sent + b"\r\n")
            codes.append(code(session))
            if codes[-1].startswith("1") and data:
                with contextlib.suppress(OSError):
                    if sent[:4].upper() in UPLOADS:
                        data.sendall(b"data")
                    else:
                        while data.recv(65_536):
                            pass
                data.close()
                codes.append(code(session))
        return "+".join(codes)
    finally:
        if data:
            data.close()
        session.close()


def installed(program: str) -> dict[str, peers.Kind]:
    kinds = {kind.name: kind for kind in peers.all_servers(program, "a password")}
    if "ProFTPD" in kinds:
        kinds["ProFTPD"] = kinds["ProFTPD"]._replace(command=peers.servers.proftpd("DefaultRoot ~\n"))
    return kinds


@contextlib.contextmanager
def running(program: str) -> Iterator[dict[str, peers.Server]]:
    """Runs our server and the other installed servers, each with its own root."""
    kinds = installed(program)
    with contextlib.ExitStack() as stack:
        names = [name for name in NAMES if name in kinds]
        yield {name: stack.enter_context(peers.Server(kinds[name], tls=False)) for name in names}


@contextlib.contextmanager
def beyond(program: str, gateway: str) -> Iterator[dict[str, peers.Server]]:
    """Runs our server, and a gateway to this one."""
    kinds = installed(program)
    with contextlib.ExitStack() as stack:
        [kind] = gateways.kinds([kinds[gateway]])
        front, _ = stack.enter_context(gateways.running(program, "a password", kind, None, place.HOST))
        yield {"ours": stack.enter_context(peers.Server(kinds["ours"], tls=False)), kind.name: front}


def asked(server: peers.Server, lines: list[str]) -> dict[tuple[str, str], str]:
    """Returns the codes of one server for every line in every state."""
    answers = {}
    for state in STATES:
        for line in lines:
            fill(server.root)
            server.root.chmod(0o777)
            try:
                answers[state, line] = answer(server, state, line)
            except OSError as error:
                answers[state, line] = f"{NOTHING}: {error}"
    return answers


def judged(answers: dict[str, dict], wanted: list, findings: Findings) -> dict[Verdict, list[Answers]]:
    """Returns the differences of each verdict. Adds a finding for each difference without one, and if ours is wrong."""
    found: dict[Verdict, list[Answers]] = {verdict: [] for verdict in ALL}
    for state in STATES:
        for line, by_state in wanted:
            codes = {name: by_row[state, line] for name, by_row in answers.items()}
            findings.count(state)
            if codes["ours"] != by_state[state].rstrip(CLOSED):
                findings.add(f"{state}, {line}: {codes['ours']}, and the matrix has {by_state[state]}")
            for name, said in codes.items():
                if said.startswith(f"{NOTHING}:"):
                    findings.add(f"{state}, {line}: {name} cannot be asked: {said}")
            if len(set(codes.values())) == 1:
                continue
            difference = Answers(Row(line, state), codes)
            verdict: Optional[Verdict] = next((one for one in ALL if one.is_about(difference)), None)
            if verdict is None:
                findings.add(f"{state}, {line}: no verdict: {codes}")
            else:
                found[verdict].append(difference)
    return found


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def table(found: dict[Verdict, list[Answers]], names: list[str]) -> str:
    """Returns a table with a line for each verdict, and one of its differences as an example."""
    lines = ["| difference | for example | " + " | ".join(names) + " | dialogues | verdict |"]
    lines.append("|" + " --- |" * (len(names) + 4))
    for verdict, differences in found.items():
        if differences:
            # The last difference is in the state that allows the most commands.
            example = ([one for one in differences if one.row.line == verdict.example] or differences)[-1]
            codes = " | ".join(example.codes[name] for name in names)
            sent = f"`{cell(example.row.line)}`, {STATES[example.row.state]}"
            lines.append(f"| {verdict.name} | {sent} | {codes} | {len(differences)} | {cell(verdict.reason)} |")
    return "\n".join(lines)


def through(program: str, gateway: str) -> Findings:
    """Prints each difference between our server and a gateway. A dialogue that only the gateway confirms is a finding."""
    findings, wanted = Findings("differences"), rows()
    with beyond(program, gateway) as servers:
        ours, front = (asked(server, [line for line, _ in wanted]) for server in servers.values())
    count = 0
    for (state, line), codes in ours.items():
        findings.count(state)
        said = front[state, line]
        if said != codes:
            count += 1
            print(f"  {state:2} {line:40} ours {codes}, gateway {said}")
            is_known = any(word in line for word in BEYOND)
            if said[-3:].startswith("2") and codes[-3:].startswith(("4", "5")) and not is_known:
                findings.add(f"{state}, {line}: {said} through a gateway to {gateway}, {codes} without")
    say(f"differences: {sum(findings.counts.values()):,} dialogues through a gateway to {gateway}, {count} with different codes")
    return findings


def run(program: str, write: bool, gateway: str) -> Findings:
    """Runs the dialogues with all servers, each in a thread, and prints every difference."""
    # Some dialogues remove and rename absolute paths: an unconfined server must not change the machine's files.
    place.run("mount", "-o", "remount,bind,ro", "/")
    tempfile.tempdir = str(place.MEMORY)
    if gateway:
        return through(program, gateway)
    findings, wanted = Findings("differences"), rows()
    with running(program) as servers, concurrent.futures.ThreadPoolExecutor() as pool:
        say(f"differences: {len(wanted)} dialogues in {len(STATES)} states with {', '.join(servers)}")
        asking = {name: pool.submit(asked, server, [line for line, _ in wanted]) for name, server in servers.items()}
        answers = {name: future.result() for name, future in asking.items()}
    found, names = judged(answers, wanted, findings), list(answers)
    for verdict, differences in found.items():
        print(f"{verdict.name}:")
        for one in differences:
            print(f"  {one.row.state:2} {one.row.line:40} " + ", ".join(f"{name} {one.codes[name]}" for name in names))
    count = sum(map(len, found.values()))
    summary = f"{sum(findings.counts.values()):,} dialogues, {count:,} with different codes."
    say(summary)
    if write and not findings.found:
        # The root file system was mounted read-only above.
        place.run("mount", "-o", "remount,bind,rw", "/")
        before, rest = DOCUMENT.read_text().split(BEGIN)
        text = f"{before}{BEGIN}\n\n{summary}\n\n{table(found, names)}\n\n{END}{rest.split(END)[1]}"
        DOCUMENT.write_text(text)
    return findings
